"""A steward without admin rights, in Airflow's own FAB auth manager with the roles of a site."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
import yaml

import fab_users
from hitl import path_of, question
from pacsgrid.cli.roles import STARTS
from pacsgrid.embedded.process import Child, free_port
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import Ledger

pytestmark = pytest.mark.e2e
PASSWORD = "Kanarek7f3a"
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
USERS = {"anna": "Steward demo", "ota": "Operator", "vera": "Viewer demo", "jan": "Steward other"}
Call = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def call(filled: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Call Airflow as a user of the roles that `pacsgrid roles` made.

    The same Airflow, its API served once more with the FAB auth manager; the site file has a
    second project, with one study.
    """
    folder = tmp_path_factory.mktemp("fab")
    site = yaml.safe_load((filled.dir / "site.yaml").read_text())
    site["projects"]["other"] = {**site["projects"]["demo"], "nightly": []}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    with Ledger(filled.site.ledger_dsn, "tester") as ledger:
        ledger.found("st-" + "0" * 20, "other", "drop", "hash", b"sealed")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        **filled.airflow_env(),
        "AIRFLOW__CORE__AUTH_MANAGER": FAB,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__FAB__CACHE_TTL": "0",
        "PACSGRID_SITE": str(folder / "site.yaml"),
    }
    airflow = str(Path(sys.executable).parent / "airflow")

    def run(*command: str, given: str = "") -> str:
        done = subprocess.run(
            command, env=env, input=given, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run(airflow, "fab-db", "migrate")
    run(sys.executable, "-m", "pacsgrid", "roles")
    assert "Steward demo" in (again := run(sys.executable, "-m", "pacsgrid", "roles"))
    assert all("0 added, 0 removed" in line for line in again.splitlines() if "permissions" in line)
    for name in ("admin", "receiver"):
        (folder / f"airflow_{name}_password").write_text(PASSWORD + "\n")
    users = [(name, role, PASSWORD) for name, role in USERS.items()]
    run(sys.executable, fab_users.__file__, str(folder), given=json.dumps(users))
    server = Child("FAB", [airflow, "api-server"], folder / "api.log", env)
    server.start()
    tokens: dict[str, str] = {}

    def ask(user: str, method: str, path: str, body: object = None) -> requests.Response:
        if user not in tokens:
            login = {"username": user, "password": PASSWORD}
            answer = requests.post(f"{url}/auth/token", json=login, timeout=120)
            tokens[user] = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {tokens[user]}"}
        return requests.request(method, url + path, json=body, headers=headers, timeout=120)

    def answers() -> bool:
        try:
            return requests.get(f"{url}/api/v2/version", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        server.wait_ready(answers, 180)
        yield ask
    finally:
        server.stop(15)


def test_a_steward_does_their_work(filled: Stack, call: Call, held: str) -> None:
    given = {"logical_date": None, "conf": {"source": "drop", "project": "demo", "dry_run": True}}
    started = call("anna", "POST", "/api/v2/dags/ingest_studies/dagRuns", given)
    assert started.status_code == 200, started.text
    assert filled.watch(started.json()["dag_run_id"]) == "success"
    conf = {"project": "demo", "only": held}
    run = call(
        "anna", "POST", "/api/v2/dags/review_held/dagRuns", {"logical_date": None, "conf": conf}
    ).json()["dag_run_id"]
    asked = question(filled, "review_held", run)
    where = "/api/v2" + path_of(asked)
    assert asked["task_instance"]["dag_run_id"] == run
    for user, there in (("anna", True), ("jan", False)):
        questions = call(user, "GET", "/api/v2/dags/~/dagRuns/~/hitlDetails")
        assert questions.status_code == 200 and (run in questions.text) is there
    leave = {"chosen_options": ["Leave it held"], "params_input": {"profile": None, "reason": ""}}
    for user in ("vera", "jan"):
        assert call(user, "PATCH", where, leave).status_code == 403
    assert call("anna", "PATCH", where, leave).status_code == 200
    assert filled.watch(run, dag="review_held") == "success"
    picture = f"/pacsgrid/api/studies/{held}/pictures/0"
    assert call("anna", "GET", picture).headers["content-type"] == "image/png"
    assert call("vera", "GET", picture).status_code == 403


def test_a_steward_sees_their_own_project_only(call: Call, held: str) -> None:
    for user, project in (("anna", "demo"), ("vera", "demo"), ("jan", "other")):
        assert call(user, "GET", "/pacsgrid/api/me").json()["projects"] == [project]
        seen = {study["project"] for study in call(user, "GET", "/pacsgrid/api/studies").json()}
        assert seen == {project}
    assert call("anna", "GET", "/pacsgrid/api/studies?project=other").status_code == 404
    assert call("anna", "GET", "/pacsgrid/api/studies/st-" + "0" * 20).status_code == 404
    assert call("jan", "GET", f"/pacsgrid/api/studies/{held}").status_code == 404
    assert call("ota", "GET", "/pacsgrid/api/me").json()["projects"] == []


def _start(call: Call, user: str, dag: str, **conf: object) -> requests.Response:
    run = {"logical_date": None, "conf": conf}
    return call(user, "POST", f"/api/v2/dags/{dag}/dagRuns", run)


@pytest.mark.parametrize("dag", STARTS)
def test_a_steward_starts_nothing_for_another_project(call: Call, dag: str) -> None:
    refused = _start(call, "anna", dag, project="other", subject="SAAAAAAAAAAAA")
    assert refused.status_code == 403 and "project other" in refused.json()["detail"]
    # Where none is named the form's first is meant.
    for conf in ({}, {"project": "demo"}):
        refused = _start(call, "jan", dag, **conf)
        assert refused.status_code == 403 and "project demo" in refused.json()["detail"]
    bare = call("jan", "POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})
    assert bare.status_code == 403 and "project demo" in bare.json()["detail"]
    # Their own gets as far as the DAG, whose form has no such project in this stack.
    assert _start(call, "jan", dag, project="other", subject="S" * 13).status_code == 400


def test_a_steward_touches_no_run_of_another_project(filled: Stack, call: Call) -> None:
    run = filled.trigger({"project": "demo", "source": "drop", "dry_run": True})
    assert filled.watch(run) == "success"
    dag = "/api/v2/dags/ingest_studies"
    for path, body in (
        (f"/dagRuns/{run}/clear", {"dry_run": True}),
        ("/clearTaskInstances", {"dag_run_id": run, "dry_run": True}),
        ("/clearTaskInstances", {"dry_run": True}),
    ):
        refused = call("jan", "POST", dag + path, body)
        assert refused.status_code == 403 and "project demo" in refused.json()["detail"]
    everything = "/api/v2/dags/~/dagRuns"
    listed = {"dag_ids": ["ingest_studies"], "order_by": "-start_date"}
    grid = f"/ui/grid/ti_summaries/ingest_studies?run_ids={quote(run)}"
    for path in (
        f"{dag}/dagRuns/{run}",
        f"{dag}/dagRuns/{run}/taskInstances",
        f"{dag}/dagRuns/{run}/taskInstances/find/logs/1",
        f"{dag}/dagRuns/{run}/taskInstances/find/xcomEntries",
        f"{everything}/{run}/taskInstances",
        grid,
    ):
        assert call("jan", "GET", path).status_code == 404, path
    for user, sees in (("anna", True), ("ota", True), ("jan", False)):
        for path, body in (
            (f"{everything}/list", listed),
            (f"{everything}/~/taskInstances/list", listed),
            (f"{dag}/dagRuns?order_by=-start_date", None),
            (f"{dag}/dagRuns/~/taskInstances?order_by=-start_date", None),
            ("/ui/grid/runs/ingest_studies?order_by=-run_after", None),
            ("/ui/dags?dag_runs_limit=10", None),
        ):
            shown = call(user, "POST" if body else "GET", path, body)
            assert shown.status_code == 200, (user, path, shown.text)
            assert (run in shown.text) is sees, (user, path)
    assert call("anna", "GET", grid).status_code == 200


def test_the_stack_s_receiver_announces_and_does_nothing_else(call: Call) -> None:
    assets = call("receiver", "GET", "/api/v2/assets?uri_pattern=pacsgrid://received")
    (asset,) = assets.json()["assets"]
    told = {"asset_id": asset["id"], "extra": {"source": "drop", "project": "demo"}}
    assert call("receiver", "POST", "/api/v2/assets/events", told).status_code == 200
    for path in ("dags", "connections", "variables", "dags/~/dagRuns/~/taskInstances"):
        assert call("receiver", "GET", f"/api/v2/{path}").status_code == 403
    assert call("admin", "GET", "/api/v2/connections").status_code == 200


@pytest.mark.parametrize("user", ["anna", "vera"])
@pytest.mark.parametrize(
    "path", ["connections", "variables", "config", "pools", "plugins", "eventLogs", "importErrors"]
)
def test_neither_steward_nor_viewer_sees_secrets(call: Call, user: str, path: str) -> None:
    assert call(user, "GET", f"/api/v2/{path}").status_code == 403


def test_nobody_but_the_operator_keeps_connections(call: Call) -> None:
    made = {"connection_id": "pacs", "conn_type": "dicom", "host": "pacs", "password": PASSWORD}
    assert call("anna", "POST", "/api/v2/connections", made).status_code == 403
    assert call("ota", "POST", "/api/v2/connections", made).status_code == 201
    assert PASSWORD not in call("ota", "GET", "/api/v2/connections/pacs").text
    assert call("ota", "DELETE", "/api/v2/connections/pacs").status_code == 204
    started = {"logical_date": None, "conf": {}}
    assert call("vera", "POST", "/api/v2/dags/ingest_studies/dagRuns", started).status_code == 403
    assert call("anna", "POST", "/api/v2/dags/site_check/dagRuns", started).status_code == 403
