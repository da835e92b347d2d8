"""The compose files: after the specification, complete, pinned, and without a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support.compose_stack import DOCKER, SITES, Prepared

REPOSITORY = DOCKER.parent
FILES = ("compose.yaml", "compose.federation.yaml")
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def compose(prepared: Prepared, site: str) -> dict[str, Any]:
    return prepared.compose(site)


@pytest.mark.parametrize("file", FILES)
def test_they_follow_the_specification(prepared: Prepared, site: str, file: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    given = prepared.compose(site, file)
    assert [e.message for e in jsonschema.Draft7Validator(SCHEMA).iter_errors(given)] == []


def test_the_schema_would_tell() -> None:
    wrong = {"services": {"a": {"image": "b", "heathcheck": {}}}}
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(wrong))


def test_every_part_is_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) >= {
        *("postgres", "redis", "irods", "orthanc", "nginx", "receiver", "gateway"),
        *("api-server", "scheduler", "dag-processor", "triggerer", "worker"),
    }


def test_every_service_has_health_limits_and_no_root(compose: dict[str, Any], site: str) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"], name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits), name
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]) or _runs_here_as(service), name
        assert service["cap_drop"] == ["ALL"] and "privileged" not in service, name
        assert "no-new-privileges:true" in service["security_opt"], name
        # iRODS alone writes into its own file system, which its set-up wants.
        assert service.get("read_only") is True or name == "irods", name


def _runs_here_as(service: dict[str, Any]) -> bool:
    return not service["user"].startswith("0")


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        _, _, tag = service["image"].partition(":")
        assert tag and tag != "latest" and re.search(r"\d|bookworm", tag), name
    for file in (DOCKER / "Dockerfile", DOCKER / "irods" / "Dockerfile"):
        text = file.read_text()
        # One base, which a site may replace; other stages are built on it.
        (base,) = re.findall(r"^ARG (?:IRODS_)?BASE_IMAGE=(\S+)$", text, re.MULTILINE)
        assert re.search(r":\S*\d+", base), file
        stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
        named = {name for _, name in stages} | {"${BASE_IMAGE}", "${IRODS_BASE_IMAGE}"}
        assert {of for of, _ in stages} <= named, file
    stages = (DOCKER / "Dockerfile").read_text().split("\nFROM ")[1:]
    for service in ("postgres", "redis", "nginx", "orthanc", "prometheus", "pacsgrid"):
        (stage,) = (one for one in stages if one.splitlines()[0].endswith(f" AS {service}"))
        assert "\nUSER pacsgrid\n" in stage, service
    irods = (DOCKER / "irods" / "Dockerfile").read_text()
    for package in re.findall(r"(irods-[a-z-]+)=", irods):
        assert f'"{package}=$IRODS_VERSION"' in irods
    locked = (DOCKER / "airflow" / "requirements.txt").read_text().splitlines()
    pins = dict(line.removesuffix(" \\").split("==") for line in locked if "==" in line)
    assert {"celery", "redis", "apache-airflow-providers-celery"} <= set(pins)
    ours = dict(
        line.removesuffix(" \\").split("==")
        for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
        if re.match(r"^[\w.\[\]-]+==", line)
    )
    assert {name: pins[name] for name in set(pins) & set(ours)} == {
        name: ours[name] for name in set(pins) & set(ours)
    }


def test_what_is_built_and_mounted_exists(
    compose: dict[str, Any], prepared: Prepared, site: str
) -> None:
    for name, service in compose["services"].items():
        if build := service.get("build"):
            context = (DOCKER / build["context"]).resolve()
            dockerfile = context / build.get("dockerfile", "Dockerfile")
            assert dockerfile.is_file(), name
            # What comes from another stage is no file of the context.
            copies = r"^COPY (?!--from=)(?:--chmod=\d+ )?(.+)$"
            for line in re.findall(copies, dockerfile.read_text(), re.MULTILINE):
                for source in line.split()[:-1]:
                    assert (context / source).exists(), f"{name}: {source}"
                    _let_through(dockerfile, source)
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("./"):  # settings of this repository, which nobody changes
                assert (DOCKER / source).is_file() and mode == ["ro"], f"{name}: {source}"
                assert target.startswith("/etc/"), name
                continue
            assert Path(source).is_dir(), f"{name}: {source}"
            assert Path(source).is_relative_to(prepared.state(site)), name
    for name, given in compose["secrets"].items():
        path = DOCKER / given["file"]
        assert path.is_file() and path.stat().st_size, name


def _let_through(dockerfile: Path, source: str) -> None:
    ignored = Path(f"{dockerfile}.dockerignore")
    if ignored.exists():
        kept = [line[1:] for line in ignored.read_text().splitlines() if line.startswith("!")]
        assert any(source == one or source.startswith(f"{one}/") for one in kept), source


def _names(service: dict[str, Any], kind: str) -> set[str]:
    return {one if isinstance(one, str) else one["source"] for one in service.get(kind, [])}


def test_every_secret_is_declared_and_used(compose: dict[str, Any]) -> None:
    used = set().union(*(_names(one, "secrets") for one in compose["services"].values()))
    assert used == set(compose["secrets"])


def test_every_secret_in_a_configuration_is_given_to_its_service(
    compose: dict[str, Any], prepared: Prepared, site: str
) -> None:
    for name, service in compose["services"].items():
        if name == "archive":  # has the whole directory
            continue
        sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
        files = [DOCKER / one for one in sources if one.startswith("./")]
        text = json.dumps(service) + "".join(file.read_text() for file in files)
        wanted = set(re.findall(r"/run/secrets/(\w+)", text)) - {"site"}
        given = _names(service, "secrets")
        if name in ("scheduler", "dag-processor", "airflow-init", "triggerer", "worker"):
            # They have the same files and serve neither HTTPS nor DICOM.
            wanted -= {one for one in wanted if one.endswith(("_key", "_certificate"))}
            wanted -= {"ledger_dsn", "orthanc_password", "irods_service_password"}
            wanted -= {"airflow_receiver_password"}
        if name in ("receiver", "gateway", "api-server"):
            other = {"receiver": "gateway", "gateway": "receiver", "api-server": "receiver"}[name]
            wanted -= {f"{other}_certificate", f"{other}_key"}
            wanted -= {"gateway_certificate", "gateway_key"} if name == "api-server" else set()
            wanted -= {one for one in wanted if one.startswith("airflow_")}
        assert wanted <= given, f"{name} lacks {sorted(wanted - given)}"


def test_who_does_not_open_the_vault_has_no_key_to_it(compose: dict[str, Any]) -> None:
    has = {n for n, one in compose["services"].items() if "vault_key" in _names(one, "secrets")}
    assert has == {"api-server", "triggerer", "worker", "receiver", "gateway"}
    admin = {
        n
        for n, one in compose["services"].items()
        if "irods_admin_password" in _names(one, "secrets")
    }
    assert admin == {"irods"}


def test_services_wait_for_services_that_are_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for other, how in (service.get("depends_on") or {}).items():
            assert other in compose["services"], f"{name} waits for {other}"
            assert how["condition"] in ("service_healthy", "service_completed_successfully")
        if "network_mode" in service:  # another's
            assert service["network_mode"].removeprefix("service:") in compose["services"]
        for network in service.get("networks", []):
            assert network in compose["networks"], name


def test_no_secret_stands_in_a_file_of_the_repository(prepared: Prepared, site: str) -> None:
    secrets = [path for path in (prepared.state(site) / "secrets").rglob("*") if path.is_file()]
    values = [path.read_bytes().strip() for path in secrets if path.name != "irods_federation"]
    written = json.dumps(prepared.compose(site)).encode()
    assert len(values) > 20
    assert not [value for value in values if len(value) > 8 and value in written]


def test_databases_are_not_reachable_from_outside(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis", "statsd", "prometheus", "grafana"):
        service = compose["services"][name]
        assert list(service["networks"]) == ["inside"] and "ports" not in service


def test_three_sites_fit_on_one_machine(prepared: Prepared) -> None:
    seen: dict[str, str] = {}
    for name in SITES[1:]:
        for service in prepared.compose(name)["services"].values():
            for port in service.get("ports", []):
                outside = port.rpartition(":")[0]
                assert outside not in seen, f"{name} and {seen[outside]} both want {outside}"
                seen[outside] = name


def test_the_overlay_changes_only_services_that_are_there(prepared: Prepared, site: str) -> None:
    overlay = prepared.compose(site, "compose.federation.yaml")
    assert set(overlay["services"]) <= set(prepared.compose(site)["services"])
