"""The site files of the stack, and the zone server's settings and start."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from irods_zone import ZoneServer
from pacsgrid.config import load_site
from pacsgrid.deid import load_profile
from support.compose_stack import DOCKER, SITES, Prepared

REQUIRED = json.loads((Path(__file__).parent / "irods-v5.json").read_text())
# A directory with iRODS's own schemas (`schemas/configuration/v5/*.json.in`), where there is one.
THEIRS = os.environ.get("PACSGRID_IRODS_SCHEMAS", "")


@pytest.fixture(scope="module")
def zone() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zone", DOCKER / "irods" / "zone.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _file(prepared: Prepared, site: str, folder: Path) -> Path:
    text = prepared.here(site, (DOCKER / "sites" / site / "site.yaml").read_text())
    (folder / "site.yaml").write_text(text)
    return folder / "site.yaml"


def test_pacsgrid_reads_the_site_file(prepared: Prepared, site: str, tmp_path: Path) -> None:
    loaded = load_site(_file(prepared, site, tmp_path))
    env, compose = prepared.env(site), prepared.compose(site)
    assert loaded.ledger_dsn.startswith("host=postgres dbname=ledger ")
    assert set(loaded.projects) == set(env["PACSGRID_PROJECTS"].split())
    assert set(loaded.zones) == {env["PACSGRID_ZONE"], *env.get("PACSGRID_PARTNERS", "").split()}
    for name, project in loaded.projects.items():
        assert load_profile(project.profile) and len(project.key_file.read_bytes()) == 32, name
        assert project.home_zone == env["PACSGRID_ZONE"]
        assert set(project.partner_zones) == set(loaded.zones) - {project.home_zone}
    for name in loaded.zones:
        reached = loaded.zone(name)
        there = prepared.env(name)
        assert reached.host == there["PACSGRID_IRODS_HOST"] and reached.password
        service = prepared.state(name) / "secrets" / "irods_service_password"
        assert reached.password.get_secret_value() == service.read_text()
        assert reached.ca_file and "CERTIFICATE" in reached.ca_file.read_text()
    for source in loaded.sources:
        assert loaded.source(source).name
    # Ports and rooms are those that the compose file opens and mounts.
    assert loaded.receiver and loaded.receiver.port == 11112 and loaded.receiver.allow
    services = compose["services"]
    assert services["receiver"]["ports"] == [f"{env['PACSGRID_DICOM_PORT']}:11112"]
    given = yaml.safe_load((DOCKER / "sites" / site / "site.yaml").read_text())
    assert services["gateway"]["ports"] == [
        f"{env['PACSGRID_GATEWAY_PORT']}:{given['gateway']['dicom_port']}"
    ]
    mounted = {volume.split(":")[1] for volume in services["worker"]["volumes"]}
    for room in ("staging", "outbox", "quarantine"):
        assert given[room] in mounted


def _settings(zone: ModuleType, prepared: Prepared, site: str, tmp_path: Path) -> dict[str, Any]:
    compose = prepared.compose(site)
    for name in compose["services"]["irods"]["secrets"]:
        (tmp_path / name).write_bytes(Path(compose["secrets"][name]["file"]).read_bytes())
    settings: dict[str, Any] = zone.settings(prepared.env(site), tmp_path)
    return settings


def test_irods_is_told_what_its_schema_asks_for(
    zone: ModuleType, prepared: Prepared, site: str, tmp_path: Path
) -> None:
    settings = _settings(zone, prepared, site, tmp_path)
    validator = jsonschema.Draft202012Validator(REQUIRED)
    assert [error.message for error in validator.iter_errors(settings)] == []
    server = settings["server_config"]
    assert server["zone_name"] == site and server["client_server_policy"] == "CS_NEG_REQUIRE"
    for file in server["tls_server"].values():
        assert Path(file).is_file()
    others = {one["zone_name"] for one in server["federation"]}
    assert others == (set(SITES[1:]) - {site} if site != "one" else set())
    text = (DOCKER / "irods" / "Dockerfile").read_text()
    assert "IRODS_VERSION=5.0.2-0~noble" in text


@pytest.mark.skipif(not THEIRS, reason="PACSGRID_IRODS_SCHEMAS names no schemas")
def test_irods_own_schema_takes_it(
    zone: ModuleType, prepared: Prepared, site: str, tmp_path: Path
) -> None:
    documents = [
        json.loads(file.read_text().replace("@IRODS_CONFIGURATION_SCHEMA_VERSION@", "5"))
        for file in Path(THEIRS).glob("*.json.in")
    ]
    registry = Registry().with_resources(
        (one["$id"], Resource.from_contents(one)) for one in documents
    )
    (whole,) = (one for one in documents if one["$id"].endswith("/unattended_installation.json"))
    validator = jsonschema.Draft202012Validator(whole, registry=registry)
    settings = _settings(zone, prepared, site, tmp_path)
    assert [error.message for error in validator.iter_errors(settings)] == []


@pytest.mark.parametrize(
    ("where", "value"),
    [("negotiation_key", "short"), ("zone_key", "a-b"), ("client_server_policy", "MAYBE")],
)
def test_the_schema_would_tell(
    zone: ModuleType, prepared: Prepared, tmp_path: Path, where: str, value: str
) -> None:
    settings = _settings(zone, prepared, "one", tmp_path)
    settings["server_config"][where] = value
    assert list(jsonschema.Draft202012Validator(REQUIRED).iter_errors(settings))
    del settings["server_config"][where]
    assert list(jsonschema.Draft202012Validator(REQUIRED).iter_errors(settings))


def test_a_missing_secret_or_setting_is_named(
    zone: ModuleType, prepared: Prepared, tmp_path: Path
) -> None:
    with pytest.raises(zone.Wrong, match="irods_zone_key"):
        zone.settings(prepared.env("one"), tmp_path)
    with pytest.raises(zone.Wrong, match="PACSGRID_ZONE is not set"):
        zone.settings({}, tmp_path)


def test_what_the_zone_lacks_is_made_once(
    zone: ModuleType, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for iadmin keeps what it is told; a second start finds all of it."""
    given = _settings(zone, prepared, "brno", tmp_path)
    program = tmp_path / "iadmin"
    program.write_text(
        "#!/bin/sh\n"
        f"cd {tmp_path}\n"
        'case "$1" in\n'
        "lu) cat users 2>/dev/null ;;\n"
        "lz) cat zones 2>/dev/null ;;\n"
        'lr) if [ -n "$2" ]; then echo "resc_parent: $(cat "child-$2" 2>/dev/null)";'
        " else cat resources 2>/dev/null; fi ;;\n"
        'mkuser) echo "$2#brno" >> users ;;\n'
        'mkzone) echo "$2" >> zones ;;\n'
        'mkresc) echo "$2" >> resources ;;\n'
        'addchildtoresc) echo 10017 > "child-$3" ;;\n'
        "'') cat > typed ;;\n"
        "esac\n"
        'echo "$*" >> commands\n'
        "exit 0\n"
    )
    program.chmod(0o755)
    rights = f"#!/bin/sh\ncd {tmp_path}\n"
    for name, lines in {
        "ils": "cat rights 2>/dev/null\nexit 0\n",
        "ichmod": 'echo "ACL - $2#brno:modify_object" >> rights\necho "ichmod $*" >> commands\n',
    }.items():
        (tmp_path / name).write_text(rights + lines)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    env = prepared.env("brno")
    zone.make_zone(env, given, tmp_path)
    said = (tmp_path / "commands").read_text()
    assert "mkuser pacsgrid rodsadmin" in said
    assert "mkzone uvn remote irods-uvn:1247" in said and "mkzone lf1 remote" in said
    assert "addchildtoresc pair disk2" in said
    assert "ichmod write pacsgrid /brno/home" in said
    password = (tmp_path / "irods_service_password").read_text()
    assert password not in said and f"password {password}\n" in (tmp_path / "typed").read_text()
    (tmp_path / "commands").unlink()
    zone.make_zone(env, given, tmp_path)
    assert not [
        line
        for line in (tmp_path / "commands").read_text().splitlines()
        if "mk" in line or "ichmod" in line
    ]


def test_the_heartbeat_tells_a_zone_that_answers(zone: ModuleType, tmp_path: Path) -> None:
    with ZoneServer("brno", tmp_path / "z") as server:
        assert zone.answers("127.0.0.1", server.port)
        port = server.port
    assert not zone.answers("127.0.0.1", port)


def test_the_policy_goes_into_the_settings(
    zone: ModuleType, prepared: Prepared, tmp_path: Path
) -> None:
    settings = _settings(zone, prepared, "brno", tmp_path)
    config = tmp_path / "irods"
    config.mkdir()
    (config / "server_config.json").write_text(json.dumps(settings["server_config"]))
    command = ["python3", DOCKER.parent / "irods_rules" / "install.py", "install"]
    command += ["--config", config, "--zone", "brno", "--service", zone.SERVICE, "lung"]
    subprocess.run(command, check=True)
    server = json.loads((config / "server_config.json").read_text())
    bases = server["plugin_configuration"]["rule_engines"][0]["plugin_specific_configuration"]
    assert bases["re_rulebase_set"] == ["pacsgrid", "pacsgrid_settings", "core"]
    settings["server_config"] = server
    assert not list(jsonschema.Draft202012Validator(REQUIRED).iter_errors(settings))
