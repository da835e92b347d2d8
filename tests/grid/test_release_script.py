"""The script that fetches a release with iCommands: whole and right, whatever interrupts it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pacsgrid.grid import deposit, ensure_collection, put_document
from pacsgrid.grid.release_script import release_script
from pacsgrid.model import AnonymisedInstance
from support import iget_double
from support.deposited_study import Grid, make_instances
from support.irods_user import iinit
from support.waiting import wait_until

STUDIES = 6


def study(grid: Grid, number: int) -> list[AnonymisedInstance]:
    """Two series of one study, each study being another patient's."""
    uid = f"1.2.{number}"
    return [
        replace(
            one,
            subject=f"S{number}",
            study_uid=uid,
            series_uid=f"{uid}.{n % 2}",
            sop_uid=f"{uid}.{n % 2}.{n}",
        )
        for n, one in enumerate(make_instances(grid.dir / uid, 4))
    ]


def path_of(one: AnonymisedInstance) -> str:
    return f"data/{one.subject}/{one.study_uid}/{one.series_uid}/{one.sop_uid}.dcm"


def release(grid: Grid, instances: Sequence[AnonymisedInstance], number: int = 1) -> str:
    """Put the documents that the script reads; returns the version's collection."""
    version = f"/{grid.home.settings.name}/home/demo/releases/heads/v{number}"
    ensure_collection(grid.home, version)
    sums = "".join(f"{one.sha256}  {path_of(one)}\n" for one in instances)
    put_document(grid.home, f"{version}/SHA256SUMS", sums.encode())
    put_document(grid.home, f"{version}/README.md", b"heads")
    return version


class Fetcher:
    """Runs the script of a release in a folder, as the grid's administrator."""

    def __init__(self, grid: Grid) -> None:
        settings = grid.home.settings
        self.folder = grid.dir / "fetched"
        self.folder.mkdir()
        password = settings.password.get_secret_value()
        self.environment = {
            **os.environ,
            **iget_double.install(grid.dir / "bin"),
            **iinit(self.folder, settings, settings.user, password),
        }

    def start(self, version: str, hold: str = "") -> subprocess.Popen[str]:
        script = self.folder / "fetch.sh"
        script.write_text(release_script(version))
        return subprocess.Popen(
            ["sh", str(script), "-j", "2", str(self.folder / "heads")],
            cwd=self.folder,
            env={**self.environment, "IGET_DOUBLE_HOLD": hold},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, version: str) -> tuple[int, str]:
        process = self.start(version)
        _, told = process.communicate(timeout=300)
        return process.returncode, told

    def files(self) -> dict[str, str]:
        """The SHA-256 of every file that has its place."""
        root = self.folder / "heads"
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.glob("data/*/*/*/*")
        }


@pytest.fixture
def fetcher(grid: Grid) -> Fetcher:
    return Fetcher(grid)


@pytest.fixture
def instances(grid: Grid) -> Iterator[list[AnonymisedInstance]]:
    found = [study(grid, number) for number in range(STUDIES)]
    for one in found:
        deposit(grid.home, "demo", one, {})
    yield [row for one in found for row in one]


def test_two_interruptions_leave_nothing_half_written(
    grid: Grid, fetcher: Fetcher, instances: list[AnonymisedInstance]
) -> None:
    version = release(grid, instances)
    expected = {path_of(one): one.sha256 for one in instances}

    def interrupted(hold: str) -> subprocess.Popen[str]:
        process = fetcher.start(version, hold)
        wait_until(lambda: any(fetcher.folder.glob(f"heads/.fetch/part.*/data/{hold}/*/*/*.dcm")))
        wait_until(lambda: len({Path(path).parts[1] for path in fetcher.files()}) >= 2)
        assert fetcher.files().items() <= expected.items()
        return process

    process = interrupted("S3")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 0 < len(fetcher.files()) < len(expected)

    process = interrupted("S4")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "run it again" in told
    with pytest.raises(ProcessLookupError):  # its workers and their iget ended with it
        os.killpg(process.pid, 0)

    code, told = fetcher.run(version)
    assert (code, told.splitlines()[-1]) == (
        0,
        "complete: every file has the checksum of the release",
    )
    assert fetcher.files() == expected
    series = len({path.rsplit("/", 1)[0] for path in expected})
    assert f"{series} of {series} series" in told
    assert (fetcher.folder / "heads" / "README.md").read_text() == "heads"
    assert not (fetcher.folder / "heads" / ".fetch").exists()


def test_a_second_one_in_the_same_place_is_refused(
    grid: Grid, fetcher: Fetcher, instances: list[AnonymisedInstance]
) -> None:
    version = release(grid, instances[:4])
    process = fetcher.start(version, "S0")
    try:
        wait_until(lambda: (fetcher.folder / "heads/.fetch/lock/pid").exists())
        code, told = fetcher.run(version)
        assert code == 2
        assert f"process {process.pid} fetches into this directory already" in told
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_damaged_replica_is_passed_over(
    grid: Grid, fetcher: Fetcher, instances: list[AnonymisedInstance]
) -> None:
    version = release(grid, instances[:8])
    bad, worse = instances[1], instances[6]
    grid.files(grid.home, f"{bad.sop_uid}.dcm")[0].write_bytes(b"x" * bad.size)
    for path in grid.files(grid.home, f"{worse.sop_uid}.dcm"):
        path.write_bytes(b"x" * worse.size)
    code, told = fetcher.run(version)
    assert code == 3
    assert told.splitlines()[-1] == f"fetch.sh: no good replica: {path_of(worse)}"
    # Of the other series, all that is right has its place.
    assert fetcher.files() == {
        path_of(one): one.sha256 for one in instances[:8] if one.series_uid != worse.series_uid
    }


def test_what_the_zone_does_not_give_is_told(
    grid: Grid, fetcher: Fetcher, instances: list[AnonymisedInstance]
) -> None:
    version = release(grid, instances[:8])
    grid.home.session.collections.remove(
        version.replace("/releases/heads/v1", "/data/S1"), recurse=True, force=True
    )
    code, told = fetcher.run(version)
    assert code == 75
    assert told.splitlines()[-1] == "fetch.sh: not complete; run it again"
    assert fetcher.files() == {path_of(one): one.sha256 for one in instances[:4]}
    code, told = fetcher.run(version.replace("v1", "v9"))
    assert code == 2
    assert "cannot read" in told and "iinit" in told


def test_a_next_version_adds_to_a_study(
    grid: Grid, fetcher: Fetcher, instances: list[AnonymisedInstance]
) -> None:
    assert fetcher.run(release(grid, instances[:3]))[0] == 0
    shutil.rmtree(fetcher.folder / f"heads/data/S0/1.2.0/{instances[3].series_uid}")
    assert fetcher.run(release(grid, instances[:4], 2))[0] == 0
    assert fetcher.files() == {path_of(one): one.sha256 for one in instances[:4]}


@pytest.mark.parametrize(
    "path", ["data/S0/../../../x/1.2.dcm", "data/S0/1.2/1.3/1.4.dcm;true", "/etc/1/1/1/1.dcm"]
)
def test_a_list_with_another_path_fetches_nothing(grid: Grid, fetcher: Fetcher, path: str) -> None:
    version = release(grid, [])
    put_document(grid.home, f"{version}/SHA256SUMS", f"{'0' * 64}  {path}\n".encode())
    code, told = fetcher.run(version)
    assert code == 2
    assert "line 1 is not one of a release" in told
    assert not (fetcher.folder / "heads" / "data").exists()
