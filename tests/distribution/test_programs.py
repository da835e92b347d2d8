"""The programs of an installed wheel do their work: fetch, deid, gateway, Airflow's additions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pydicom import dcmread

import pacsgrid
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.grid import put_document, set_avus
from pacsgrid.grid.fetch import stored_below
from pacsgrid.grid.sharing import share
from pacsgrid.ledger.migrate import newest
from pacsgrid.model import AVU
from support.dicom import ct
from support.installed import ROOT, Environment
from support.irods_user import iinit
from support.served_zones import PROJECT, ServedZones

HOME = f"/brno/home/{PROJECT}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedZones]:
    (tmp_path / "zones").mkdir()
    with ServedZones(tmp_path / "zones") as zones:
        yield zones


def test_a_bare_installation_fetches_a_release(
    bare: Environment, served: ServedZones, tmp_path: Path
) -> None:
    paths = [ct(served.dir / f"{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(3)]
    (study,) = served.add(paths)
    rows = {row.sop_uid: row for row in study.rows}
    objects = [
        {"path": one.path.removeprefix(f"{HOME}/"), "size": one.size, "sha256": one.sha256}
        for one in stored_below(served.home, f"{HOME}/data")
        if one.path.endswith(".dcm")
    ]
    assert len(objects) == len(rows) == 3
    release = f"{HOME}/releases/heads/v1"
    served.home.session.collections.create(release)
    put_document(served.home, f"{release}/manifest.json", json.dumps({"objects": objects}).encode())
    set_avus(
        served.home,
        served.collection(study, "brno"),
        {served.collection(study, "brno"): [AVU("Modality", "CT")]},
    )
    user = served.home.session.users.get("eva")
    user.modify("password", "secret-word")
    share(served.home, PROJECT, ["eva#brno"])
    account = iinit(tmp_path, served.home.settings, "eva", "secret-word")

    done = bare.run(tmp_path, "search", HOME, "Modality=CT", **account)
    assert done.stdout.split() == [served.collection(study, "brno")], done.stderr
    done = bare.run(tmp_path, "fetch", release, "out", **account)
    assert done.returncode == 0, done.stderr
    got = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert got == {f"{uid}.dcm": path.read_bytes() for uid, path in study.paths.items()}


def test_deid_runs_with_nothing_else_said(deid: Environment, tmp_path: Path) -> None:
    ct(tmp_path / "in" / "a.dcm", "1.2.3", "1.2.3.1", patient_id="756203")
    ct(tmp_path / "in" / "b.dcm", "1.2.3", "1.2.3.2", patient_id="756203", fill=1)
    done = deid.run(tmp_path, "deid", "in", "out")
    assert done.returncode == 0, done.stderr
    assert "2 files: 2 done" in done.stdout
    results = [dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert len(results) == 2 and len({one.PatientID for one in results}) == 1
    assert {one.PatientIdentityRemoved for one in results} == {"YES"}
    assert "756203" not in {one.PatientID for one in results}
    key = tmp_path / ".config" / "pacsgrid" / "deid.key"
    assert f"Using the key {key}" in done.stderr and key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("profile", ["basic", "research", "strict"])
def test_every_profile_is_installed(deid: Environment, tmp_path: Path, profile: str) -> None:
    ct(tmp_path / "in.dcm", "1.2.3", "1.2.3.1")
    done = deid.run(tmp_path, "deid", "in.dcm", "out.dcm", "--profile", profile)
    assert done.returncode == 0, done.stderr
    assert dcmread(tmp_path / "out.dcm").PatientIdentityRemoved == "YES"


def test_the_gateway_serves(gateway: Environment, served: ServedZones, tmp_path: Path) -> None:
    served.add([ct(served.dir / "in.dcm", "1.2.1", "1.2.1.1.1")])
    share(served.home, PROJECT, ["eva#brno"])
    port = reserve_port()
    served.site(bind="127.0.0.1", http_port=port, refresh_seconds=0.2)
    environment = gateway.variables(tmp_path, PACSGRID_SITE=str(served.dir / "site.yaml"))
    log = tmp_path / "gateway.log"
    child = ChildProcess("gateway", [str(gateway.program("pacsgrid")), "gateway"], log, environment)
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = "Bearer evaeva"

    def studies() -> list[str]:
        try:
            answer = session.get(f"http://127.0.0.1:{port}/dicom-web/studies", timeout=30)
        except requests.ConnectionError:
            return []
        found = answer.json() if answer.status_code == 200 else []
        return [one["0020000D"]["Value"][0] for one in found]

    child.start()
    try:
        child.wait_ready(lambda: studies() != [], 90)
        assert studies() == ["1.2.1"]
    finally:
        child.stop()


@pytest.mark.parametrize("command", ["gateway", "receive"])
def test_services_lack_nothing_but_a_site(
    gateway: Environment, tmp_path: Path, command: str
) -> None:
    done = gateway.run(tmp_path, command)
    assert done.returncode == 2 and "PACSGRID_SITE" in done.stderr, done.stderr


def test_the_ledger_s_migrations_are_installed(
    gateway: Environment, tmp_path: Path, dsn: str
) -> None:
    code = "import sys; from pacsgrid.ledger import migrate; print(migrate(sys.argv[1]))"
    done = gateway.run(tmp_path, "-c", code, dsn, program="python")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == newest()


# What Airflow knows of pacsgrid, and what it complains of.
AIRFLOW = """
import json
from airflow import plugins_manager
from airflow.providers_manager import ProvidersManager
from airflow.settings import get_policy_plugin_manager

plugins, errors = plugins_manager._get_plugins()
provider = ProvidersManager().providers["pacsgrid"]
print(json.dumps({
    "plugins": [str(one.source) for one in plugins if one.name == "pacsgrid"],
    "errors": errors,
    "version": provider.version,
    "policies": [n for n, _ in get_policy_plugin_manager().list_name_plugin() if "pacsgrid" in n],
}))
"""


@pytest.mark.parametrize("folder", ["none", "plugins"])
def test_airflow_finds_provider_policy_and_plugin_once(
    full: Environment, tmp_path: Path, folder: str
) -> None:
    """Also where the checkout's folder is the plugins folder, as it was in older versions."""
    done = full.run(
        tmp_path, "-c", AIRFLOW, program="python",
        AIRFLOW_HOME=str(tmp_path / "airflow"), AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    (source,) = told["plugins"]
    assert source.startswith(f"pacsgrid=={pacsgrid.__version__}: ") and not told["errors"]
    assert told["version"] == pacsgrid.__version__ and told["policies"] == ["pacsgrid"]
