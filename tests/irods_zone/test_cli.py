"""The command: its line, its end, its errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from irods.session import iRODSSession

from irods_zone import ZoneServer

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    (tmp_path / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "irods_zone", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PLUGINS), "TMPDIR": str(tmp_path / "tmp")},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_options_it_serves_a_temporary_zone(tmp_path: Path, number: signal.Signals) -> None:
    zone = start(tmp_path, "--port", "0")
    assert zone.stdout is not None
    port = int(zone.stdout.readline().rpartition(":")[2])
    with iRODSSession(
        host="127.0.0.1", port=port, user="rods", password="rods", zone="tempZone"
    ) as session:
        assert session.collections.exists("/tempZone/home/rods")
    assert os.listdir(tmp_path / "tmp")
    zone.send_signal(number)
    assert zone.communicate(timeout=20) == ("", "") and zone.returncode == 0
    assert not os.listdir(tmp_path / "tmp")


def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path) -> None:
    with ZoneServer("brno", tmp_path / "brno") as other:
        zone = start(tmp_path, "--port", str(other.port))
        _, told = zone.communicate(timeout=20)
    assert zone.returncode == 1 and "cannot start" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [["--federate", "praha=somewhere"], ["--tls-required"], ["--zone", "a/b"], ["--port", "x"]],
)
def test_wrong_options_are_refused(tmp_path: Path, options: list[str]) -> None:
    zone = start(tmp_path, *options)
    _, told = zone.communicate(timeout=20)
    assert zone.returncode and "irods-zone" in told and "Traceback" not in told
