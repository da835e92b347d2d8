"""A study through several processes comes out as through one."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from dicom import ct
from pacsgrid.deid import Pseudonyms, Workshop, load_profile
from pacsgrid.deid.work import Batch

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


def shas(batch: Batch) -> set[tuple[str, str]]:
    return {(made.sop_uid, made.sha256) for made in batch.made}


def test_processes_change_nothing(tmp_path: Path) -> None:
    files = [ct(tmp_path / f"{n}.dcm", "1.2.3", f"1.2.3.{n}", fill=n) for n in range(140)]
    ct(tmp_path / "139.dcm", "1.2.3", "1.2.3.5", fill=7)
    files[17].write_bytes(files[17].read_bytes()[:-9])
    with Workshop(PSEUDONYMS, load_profile("basic"), processes=1) as one:
        first = one.study(files, tmp_path / "one")
    with Workshop(PSEUDONYMS, load_profile("basic"), processes=3) as three:
        second = three.study(files, tmp_path / "three")
    assert shas(first) == shas(second) and len(first.made) == 137
    assert first.counts == second.counts
    assert sorted(outcome.code for outcome in second.held) == [
        "duplicate-conflict", "duplicate-conflict", "truncated"
    ]  # fmt: skip


def test_a_name_of_one_file_is_kept_out_of_all(tmp_path: Path) -> None:
    first = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1", patient="Šebestová^Alžběta")
    second = ct(tmp_path / "b.dcm", "1.2.3", "1.2.3.2", patient="")
    ds = dcmread(second)
    ds.SeriesDescription = "Sebestova hlava"
    ds.save_as(second)
    with Workshop(PSEUDONYMS, load_profile("research"), processes=1) as workshop:
        batch = workshop.study([first, second], tmp_path / "out")
    assert len(batch.made) == 2
    assert not any(b"ebestova" in made.path.read_bytes() for made in batch.made)
