"""Fetch and search as a researcher does, with read access alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from irods.access import iRODSAccess
from irods.exception import CAT_NO_ACCESS_PERMISSION

from pacsgrid.cli import main
from pacsgrid.errors import ZoneError
from pacsgrid.grid import Zone, deposit, set_avus, study_collection
from pacsgrid.grid.fetch import fetch
from pacsgrid.grid.search import Criterion, search
from pacsgrid.grid.user import UserZone
from pacsgrid.model import AVU
from support.deposited_study import SIZE, Grid, make_instances
from support.irods_user import iinit
from support.waiting import wait_until


@pytest.fixture
def study(grid: Grid) -> str:
    deposit(grid.home, "demo", grid.instances, {})
    return study_collection(grid.home.settings.name, "demo", "S1", "1.2")


def got(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()
    }


def sent(grid: Grid) -> dict[str, bytes]:
    return {f"{i.series_uid}/{i.sop_uid}.dcm": i.path.read_bytes() for i in grid.instances}


def test_a_collection_is_fetched_once_and_proven(grid: Grid, study: str) -> None:
    seen: list[tuple[int, int]] = []
    out = grid.dir / "out"
    report = fetch(grid.home, study, out, progress=lambda a, b: seen.append((a, b)))
    assert (report.fetched, report.skipped, report.bad) == (6, 0, [])
    assert got(out) == sent(grid)
    assert seen[-1] == (6 * SIZE, 6 * SIZE)
    (out / "1.2.0" / "1.0.dcm").write_bytes(b"spoiled here")
    (out / "1.2.0" / "1.2.dcm").unlink()
    report = fetch(grid.home, study, out)
    assert (report.fetched, report.skipped) == (2, 4)
    assert got(out) == sent(grid)


def test_a_damaged_replica_is_passed_over(grid: Grid, study: str) -> None:
    bad, worse = (f"{one.sop_uid}.dcm" for one in grid.instances[:2])
    grid.files(grid.home, bad)[0].write_bytes(b"x" * SIZE)
    for path in grid.files(grid.home, worse):
        path.write_bytes(b"x" * SIZE)
    report = fetch(grid.home, study, grid.dir / "out")
    assert report.bad == [f"{study}/1.2.1/{worse}"]
    expected = sent(grid)
    del expected[f"1.2.1/{worse}"]
    assert got(grid.dir / "out") == expected


def test_a_large_object_goes_on_where_it_was_cut(grid: Grid) -> None:
    grid.instances = make_instances(grid.dir / "large", 1, 34 << 20)
    deposit(grid.home, "demo", grid.instances, {})
    (one,) = grid.instances
    study = study_collection(grid.home.settings.name, "demo", "S1", "1.2")
    part = grid.dir / "out" / one.series_uid / f"{one.sop_uid}.dcm.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(one.path.read_bytes()[: 20 << 20])
    assert fetch(grid.home, study, grid.dir / "out").fetched == 1
    part.write_bytes(b"not the beginning of it")
    (part.with_suffix("")).unlink()
    assert fetch(grid.home, study, grid.dir / "out").fetched == 1
    assert got(grid.dir / "out") == sent(grid)


def test_nothing_there_is_an_error_that_says_so(grid: Grid) -> None:
    with pytest.raises(ZoneError, match="no such collection"):
        fetch(grid.home, f"/{grid.home.settings.name}/home/demo/data/none", grid.dir / "out")


def test_search_wants_every_criterion(grid: Grid) -> None:
    name = grid.home.settings.name
    for number, modality in ((1, "CT"), (2, "MR"), (3, "CT")):
        path = f"/{name}/home/demo/data/S{number}/1.{number}"
        grid.home.session.collections.create(path)
        set_avus(grid.home, path, {path: [AVU("Modality", modality), AVU("site", f"brno{number}")]})
    root = f"/{name}/home/demo"
    assert search(grid.home, root, [Criterion("Modality", "CT")]) == [
        f"{root}/data/S1/1.1",
        f"{root}/data/S3/1.3",
    ]
    both = [Criterion("Modality", "CT"), Criterion("site", "brno3")]
    assert search(grid.home, root, both) == [f"{root}/data/S3/1.3"]
    assert len(search(grid.home, root, [Criterion("site", "brno%")])) == 3
    assert search(grid.home, root, [Criterion("Modality", "US")]) == []


@pytest.fixture
def researcher(grid: Grid, study: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user of the home zone with the right to read the project and an environment file."""
    session, settings = grid.home.session, grid.home.settings
    user = session.users.create("jana", "rodsuser")
    user.modify("password", "secret-word")
    root = f"/{settings.name}/home/demo"
    session.acls.set(iRODSAccess("read", root, "jana"), recursive=True)
    for name, value in iinit(grid.dir, settings, "jana", "secret-word").items():
        monkeypatch.setenv(name, value)
    yield "jana"
    user.remove()


def test_the_command_line_fetches_with_the_rights_of_its_user(
    grid: Grid, study: str, researcher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", study, str(grid.dir / "out")]) == 0
    assert "6 objects downloaded and verified" in capsys.readouterr().out
    assert got(grid.dir / "out") == sent(grid)
    set_avus(grid.home, study, {study: [AVU("Modality", "CT")]})
    assert main(["search", f"/{grid.home.settings.name}/home/demo", "Modality=CT"]) == 0
    assert capsys.readouterr().out.split() == [study]
    with UserZone() as zone, pytest.raises(CAT_NO_ACCESS_PERMISSION):
        zone.session.collections.remove(study, recurse=True, force=True)


def test_a_password_that_is_not_the_users_is_told(
    grid: Grid, study: str, researcher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    iinit(grid.dir, grid.home.settings, researcher, "another-word")
    for command in (["fetch", study, str(grid.dir / "out")], ["search", study, "Modality=CT"]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "run iinit again" in said and "another-word" not in said


def test_a_missing_environment_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.json")
    assert main(["fetch", "/z/home/demo", "--environment", missing]) == 2
    assert "run iinit first" in capsys.readouterr().err


def test_a_criterion_needs_a_value() -> None:
    with pytest.raises(Exception, match="not a criterion"):
        Criterion.parse("Modality")


def test_threads_that_begin_at_once_share_a_session(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, opened = [], []
    open_session = Zone._open

    def open_when_all_ask(zone: Zone) -> object:
        wait_until(lambda: len(asking) == 8)
        opened.append(open_session(zone))
        return opened[-1]

    def ask(zone: Zone, number: int) -> object:
        asking.append(number)
        return zone.session

    monkeypatch.setattr(Zone, "_open", open_when_all_ask)
    with Zone(grid.home.settings) as zone:
        sessions = zone.run_parallel(lambda number: ask(zone, number), range(8), 8)
    assert len(opened) == 1 and all(session is opened[0] for session in sessions)
