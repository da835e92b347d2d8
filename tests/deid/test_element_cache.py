"""Rewriting from the caches gives byte for byte the result of a full rewriting."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from pacsgrid.deid import Pseudonyms, anonymise, collect_identifiers, load_profile
from pacsgrid.deid.anonymise import Anonymiser
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.dicom import ct, save

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")
TESTFILES = Path(pydicom.__file__).parent / "data" / "test_files"


def result(anonymiser: Anonymiser, path: Path, out: Path) -> bytes | None:
    """The result's bytes, None of a held file: one with two reasons may be held for either."""
    try:
        return anonymiser.anonymise(path, out).path.read_bytes()
    except HeldError:
        return None


@pytest.mark.parametrize("profile", ["basic", "research"])
def test_all_readable_files(tmp_path: Path, profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(p for p in TESTFILES.rglob("*") if p.is_file() and p.stat().st_size < 1 << 20)
    # Pixels are cleaned the same way on both; here they would only take their time.
    unseen = PixelSettings(look="none", hold=frozenset())
    chosen = load_profile(profile).replace(pixels=unseen, hold_burned_in=False)
    tools = PSEUDONYMS, chosen, collect_identifiers(files)
    together = Anonymiser(*tools)
    first = [result(together, path, tmp_path) for path in files]
    again = [result(together, path, tmp_path) for path in files]
    monkeypatch.setattr(anonymise, "parse_header", lambda stream: None)
    apart = [result(Anonymiser(*tools), path, tmp_path) for path in files]
    different = [
        path.name for path, *three in zip(files, first, again, apart, strict=True)
        if len(set(three)) > 1
    ]  # fmt: skip
    assert different == []
    assert sum(made is not None for made in first) > 50


def test_a_series_is_rewritten_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for number in range(6):
        ds = dcmread(ct(tmp_path / f"{number}", "1.2.3", f"1.2.3.{number}", fill=number))
        ds.SliceLocation, ds.InstanceNumber = number * 1.5, number
        ds.SeriesDescription = f"Novakova {number % 2}"
        ds.ContentTime = f"10150{number}"
        ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(8, "CS", f"IM{number}")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.DeidentificationMethod = "by another tool"
        files.append(save(ds, tmp_path / f"{number}"))
    tools = PSEUDONYMS, load_profile("research"), collect_identifiers(files)
    together = Anonymiser(*tools)
    with monkeypatch.context() as patch:
        patch.setattr(Anonymiser, "_rewrite_fully", None)  # whatever goes the long way fails
        first = [result(together, path, tmp_path / "out") for path in reversed(files)]
    monkeypatch.setattr(anonymise, "parse_header", lambda stream: None)
    assert first == [result(Anonymiser(*tools), path, tmp_path / "out") for path in files][::-1]


def test_implicit_vr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for number in range(3):
        path = tmp_path / f"{number}"
        ds = dcmread(ct(path, "1.2.3", f"1.2.3.{number}", fill=number))
        ds.PixelRepresentation, ds.SmallestImagePixelValue = 1, -5
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        ds.save_as(path, implicit_vr=True, little_endian=True)
        files.append(path)
    tools = PSEUDONYMS, load_profile("research"), collect_identifiers(files)
    together = Anonymiser(*tools)
    first = [result(together, path, tmp_path / "out") for path in files]
    monkeypatch.setattr(anonymise, "parse_header", lambda stream: None)
    assert first == [result(Anonymiser(*tools), path, tmp_path / "out") for path in files]
    assert all(made is not None for made in first)
