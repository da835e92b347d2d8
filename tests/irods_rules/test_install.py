"""The installer of the rules, and that what it installs is what the read-me says."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "irods_rules"
INSTALL = runpy.run_path(str(RULES / "install.py"))
LANGUAGE = "irods_rule_engine_plugin-irods_rule_language"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    engines = [
        {"plugin_name": "irods_rule_engine_plugin-cpp_default_policy"},
        {
            "plugin_name": LANGUAGE,
            "plugin_specific_configuration": {"re_rulebase_set": ["site", "core"]},
        },
    ]
    server = {"zone_key": "k", "plugin_configuration": {"rule_engines": engines}}
    (tmp_path / "server_config.json").write_text(json.dumps(server))
    (tmp_path / "server_config.json").chmod(0o640)
    return tmp_path


def run(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RULES / "install.py"), "install", "--config", str(config)]
    return subprocess.run([*command, *more], capture_output=True, text=True)


def test_rules_go_before_core_once_and_nothing_else_changes(config: Path) -> None:
    for said in ("restart the server", "is as it should be"):
        done = run(config, "--zone", "brno", "demo", "lung")
        assert done.returncode == 0 and said in done.stdout
    server = json.loads((config / "server_config.json").read_text())
    engine = server["plugin_configuration"]["rule_engines"][1]
    bases = engine["plugin_specific_configuration"]["re_rulebase_set"]
    assert bases == ["pacsgrid", "pacsgrid_settings", "site", "core"]
    assert server["zone_key"] == "k"
    assert (config / "server_config.json").stat().st_mode & 0o777 == 0o640
    assert (config / "server_config.json.before-pacsgrid").exists()
    assert (config / "pacsgrid.re").read_text() == (RULES / "pacsgrid.re").read_text()


def test_the_settings_protect_data_and_releases_of_the_projects_named(config: Path) -> None:
    run(config, "--zone", "brno", "demo", "lung")
    text = (config / "pacsgrid_settings.re").read_text()
    rooms = re.findall(r'"(/brno/home/\(.*?)"', text)
    assert len(rooms) == 2 and len(set(rooms)) == 1
    assert re.fullmatch(rooms[0], "/brno/home/demo/data/S1/1.2/a.dcm")
    assert re.fullmatch(rooms[0], "/brno/home/lung/releases/heads/v1/README.md")
    assert not re.fullmatch(rooms[0], "/brno/home/other/data/a.dcm")
    assert not re.fullmatch(rooms[0], "/brno/home/jana/copy/data/a.dcm")


@pytest.mark.parametrize("bad", ['x"; remote', "a b", "../x"])
def test_a_name_that_is_none_is_refused(config: Path, bad: str) -> None:
    done = run(config, "--zone", "brno", bad)
    assert done.returncode == 2 and "is no name" in done.stderr
    assert not (config / "pacsgrid_settings.re").exists()


def test_a_directory_without_a_server_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--zone", "brno", "demo")
    assert done.returncode == 2 and "run this on the iRODS server" in done.stderr


def test_every_enforcement_point_is_in_the_read_me_and_the_other_way_round(config: Path) -> None:
    run(config, "--zone", "brno", "demo")
    rules = (config / "pacsgrid.re").read_text() + (config / "pacsgrid_settings.re").read_text()
    points = set(re.findall(r"^(pep_\w+|ac[A-Z]\w+)", rules, re.MULTILINE))
    told = set(re.findall(r"^\| `(\w+)`", (RULES / "README.md").read_text(), re.MULTILINE))
    assert points == told
    assert rules.count("{") == rules.count("}") and rules.count("(") == rules.count(")")


def test_scenarios_cover_allow_and_deny_of_both_accounts() -> None:
    found = INSTALL["scenarios"]((RULES / "scenarios/policy.txt").read_text())
    assert {(who, allowed) for who, allowed, _ in found} == {
        ("service", True),
        ("service", False),
        ("user", True),
        ("user", False),
    }
    with pytest.raises(INSTALL["Refused"], match="line 1"):
        INSTALL["scenarios"]("nobody | allow | ils")
