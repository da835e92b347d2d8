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


def test_a_rule_of_the_site_that_no_longer_runs_is_told(config: Path) -> None:
    (config / "core.re").write_text("#acPostProcForPut { }\n")
    assert run(config, "--zone", "brno", "demo").stderr == ""
    (config / "site.re").write_text("acPostProcForPut { msiSetDataTypeFromExt; }\n")
    assert "of site.re no longer runs" in run(config, "--zone", "brno", "demo").stderr


def test_no_string_has_a_variable_by_mistake(config: Path) -> None:
    """The rule language reads *name inside of double quotes as a variable."""
    run(config, "--zone", "brno", "demo", "lung")
    text = (config / "pacsgrid_settings.re").read_text()
    strings = re.findall(r'"([^"]*)"', text)
    assert strings and not [one for one in strings if re.search(r"[*][A-Za-z]", one)]


def test_whatever_changes_the_catalog_is_enforced() -> None:
    """Not only the messages of the API: a rule of a user's own sends none."""
    rules = (RULES / "pacsgrid.re").read_text()
    changes = [
        "reg_data_obj",
        "mod_data_obj_meta",
        "unreg_replica",
        "reg_replica",
        "data_object_finalize",
        "rename_object",
        "move_object",
        "rename_coll",
        "reg_coll",
        "mod_coll",
        "del_coll",
        "add_avu_metadata",
        "set_avu_metadata",
        "mod_avu_metadata",
        "del_avu_metadata",
        "copy_avu_metadata",
        "mod_access_control",
        "mod_ticket",
    ]
    assert [one for one in changes if f"\npep_database_{one}_pre(" not in rules] == []


def test_no_rule_has_a_guard_that_could_fail(config: Path) -> None:
    """A guard that fails is told to the client, and if all fail the operation does too."""
    run(config, "--zone", "brno", "demo")
    for name in ("pacsgrid.re", "pacsgrid_settings.re"):
        assert not re.search(r"(?m)^\s*on\s*\(", (config / name).read_text())


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


def places(config: Path) -> tuple[str, str, str]:
    """The patterns of what is protected, of its prefix and of what is above it."""
    run(config, "--zone", "brno", "demo", "lung")
    text = (config / "pacsgrid_settings.re").read_text()
    inside = re.search(r'\*inside = "(.*?)"', text)
    above = re.search(r'\*above = "(.*?)"', text)
    rooms = re.search(r'\*rooms = "(.*?)"', text)
    assert inside and above and rooms
    return rooms[1], inside[1], above[1]


def test_what_is_done_recursively_is_refused_above_too(config: Path) -> None:
    rooms, inside, above = places(config)
    for path in ("/", "/brno", "/brno/home", "/brno/home/demo", "/brno/home/demo/"):
        assert re.fullmatch(above, path + "/")
    for path in ("/brno/home/jana", "/brno/home/demo/other", "/praha", "/brno/trash", "/brn"):
        assert not re.fullmatch(above, path + "/") and not re.fullmatch(rooms, path + "/")
    assert re.fullmatch(rooms, "/brno/home/demo/data" + "/")
    for path in ("/brno/home/demo/data", "//brno/./home/demo/.//releases"):
        assert re.fullmatch(inside, path)
    assert not re.fullmatch(inside, "/brno/home/jana/demo/data")


def test_json_is_refused_for_the_path_it_is_about_and_not_for_what_it_says(config: Path) -> None:
    _, inside, _ = places(config)
    rules = (config / "pacsgrid.re").read_text()
    key = re.search(r'\*key = "(.*?)" \+\+ \*blank', rules)
    escapes = re.search(r'like regex "(\.\*\[.*?)"\)', rules)
    assert key and escapes
    blank = r"\s*"
    pattern = key[1].replace('\\"', '"') + blank + ":" + blank + '"' + inside + '[/"].*'
    hiding = escapes[1]

    def refused(text: str) -> bool:
        return any(re.fullmatch(p, text, re.DOTALL) for p in (pattern, hiding))

    path, own = "/brno/home/demo/data/S1", "/brno/home/jana/x"
    said = [{"operation": "add", "attribute": "source", "value": f'see "entity_name": "{path}"'}]
    for one in (
        {"entity_name": path, "entity_type": "collection", "operations": []},
        {"logical_path": "/brno/home/lung/releases", "operations": []},
    ):
        assert refused(json.dumps(one)) and refused(json.dumps(one, indent=4))
    assert not refused(json.dumps({"entity_name": own, "operations": said}))
    assert not refused(json.dumps({"entity_name": own, "operations": [{"value": "žluťoučký"}]}))
    assert refused(json.dumps({"entity_name": path}).replace("/", "\\/"))
    assert refused(json.dumps({"entity_name": path}).replace("d", "\\u0064"))
