"""iCommands use the zone, where they are installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from irods_zone import ZoneServer

pytestmark = pytest.mark.skipif(shutil.which("ils") is None, reason="needs iCommands")
Run = Callable[..., str]


@pytest.fixture
def run(zone: ZoneServer, tmp_path: Path) -> Run:
    """Runs a command as rods and returns what it printed; fails when the command fails."""
    account = {
        "irods_host": "127.0.0.1",
        "irods_port": zone.port,
        "irods_user_name": "rods",
        "irods_zone_name": "brno",
        "irods_default_resource": "demoResc",
        "irods_authentication_file": str(tmp_path / "password"),
    }
    (tmp_path / "environment.json").write_text(json.dumps(account))
    (tmp_path / "f").write_text("hello\n")
    env = {**os.environ, "IRODS_ENVIRONMENT_FILE": str(tmp_path / "environment.json")}

    def run(command: str, given: str = "", right: bool = True) -> str:
        done = subprocess.run(
            command.split(" "),
            cwd=tmp_path,
            env=env,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode == 0) is right, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    run("iinit", "rods\n")
    return run


def test_writing(run: Run, tmp_path: Path) -> None:
    run("iput --metadata a;b;c f x")
    run("iput --acl=own,public f bad", right=False)
    assert "attribute: a" in run("imeta ls -d x")
    run("istream write -a x", "more\n")
    assert run("iget x -").endswith("hello\nmore\n")
    run("iadmin mkresc other unixfilesystem localhost:/nowhere/other")
    assert "SYS_REPLICA_INACCESSIBLE" in run("iget -R other x y", right=False)
    assert "HIERARCHY_ERROR" in run("iput -f -R other f x", right=False)
    run("iphymv -R other x", right=False)
    run("iphymv -S demoResc -R other x")
    assert run("ils -l x").split()[1:3] == ["0", "other"]
    run("isysmeta mod x +1h")
    assert "None" not in run("isysmeta ls x")


def test_synchronising_and_unpacking(run: Run, tmp_path: Path) -> None:
    run("iput f x")
    (tmp_path / "f").write_text("other\n")
    run("irsync f i:x")
    run("irsync i:x i:y")
    (tmp_path / "g").write_text("local\n")
    run("irsync i:y g")
    assert (tmp_path / "g").read_text() == "other\n"
    (tmp_path / "tree/a").mkdir(parents=True)
    (tmp_path / "tree/a/y").write_text("1")
    subprocess.run(["tar", "-C", "tree", "-cf", "t.tar", "."], cwd=tmp_path, check=True)
    run("iput t.tar")
    run("ibun -x t.tar un")
    assert "  y" in run("ils -r un")


def test_accounts_and_what_the_server_says(run: Run) -> None:
    run("iadmin mkuser alice rodsuser")
    run("iadmin moduser alice password new-word")
    run("ipasswd", "rods\nnew-rods\nnew-rods\n")
    run("ils")
    assert "rodsZone=brno" in run("imiscsvrinfo")
    assert "-12000" in run("ips", right=False)
    assert "-12000" in run("izonereport")  # which ends with 0 whatever it hears
