"""A steward without admin rights, in Airflow's own FAB auth manager with the roles of a site."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
import requests
import yaml

from pacsgrid.cli.roles import STARTS
from pacsgrid.config import load_site
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import Ledger
from pacsgrid.pipeline.logins import Logins
from support import fab_users, unauthorised_requests
from support.human_input import path_of, question
from support.oidc_provider import CLIENT, SECRET, OidcProvider
from support.waiting import wait_until

pytestmark = pytest.mark.e2e
PASSWORD = "Kanarek7f3a"
FAB = "pacsgrid.airflow.login.LoginAuthManager"
SETTINGS = Path(__file__).parents[2] / "docker" / "airflow" / "webserver_config.py"
USERS = {
    "anna": "Steward demo",
    "ota": "Operator",
    "vera": "Viewer demo",
    "jan": "Steward other",
    "petr": "Viewer other",
    # Airflow's own roles, which know nothing of projects.
    "cizi": "Op",
    "left": "Steward left",
}
Call = Callable[..., requests.Response]


def _leave(run: Callable[..., str], folder: Path, site: dict[str, Any]) -> None:
    projects = {**site["projects"], "left": site["projects"]["demo"]}
    (folder / "site.yaml").write_text(yaml.safe_dump({**site, "projects": projects}))
    run(sys.executable, "-m", "pacsgrid", "roles")
    (folder / "site.yaml").write_text(yaml.safe_dump(site))


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def call(
    filled: Stack, oidc: OidcProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Call]:
    """Call Airflow as a user of the roles that `pacsgrid roles` made.

    The same Airflow, its API served once more with the FAB auth manager; the site file has a
    second project, with one study.
    """
    folder = tmp_path_factory.mktemp("fab")
    site = yaml.safe_load((filled.dir / "site.yaml").read_text())
    site["projects"]["other"] = {**site["projects"]["demo"], "nightly": []}
    (folder / "secret").write_text(SECRET)
    site["gateway"]["public_url"] = "http://127.0.0.1/dicom-web"
    site["login"] = {
        "issuer": oidc.issuer,
        "client_id": CLIENT,
        "client_secret_file": str(folder / "secret"),
        "groups": [
            {"group": "demo-stewards", "role": "steward", "project": "demo"},
            {"group": "demo-viewers", "role": "viewer", "project": "demo"},
            {"group": "operators", "role": "operator"},
        ],
    }
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    ledger = Ledger(filled.site.ledger_dsn, "tester")
    ledger.studies.add_found("st-" + "0" * 20, "other", "drop", "hash", b"sealed")
    port = reserve_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        **filled.airflow_env(),
        "AIRFLOW__CORE__AUTH_MANAGER": FAB,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__FAB__CACHE_TTL": "0",
        "AIRFLOW__FAB__CONFIG_FILE": str(SETTINGS),
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
    # A project that was there when the roles were made, and is not any more.
    _leave(run, folder, site)
    users = [(name, role, PASSWORD) for name, role in USERS.items()]
    users += [(f"oidc-{oidc.add(name).subject}", "Public", "") for name in ("eva", "jana")]
    run(sys.executable, fab_users.__file__, str(folder), given=json.dumps(users))
    server = ChildProcess("FAB", [airflow, "api-server"], folder / "api.log", env)
    server.start()
    tokens: dict[str, str] = {}

    session = requests.Session()
    session.trust_env = False

    def token(user: str) -> str:
        if user not in tokens:
            login = {"username": user, "password": PASSWORD}
            answer = requests.post(f"{url}/auth/token", json=login, timeout=120)
            tokens[user] = answer.json()["access_token"]
        return tokens[user]

    def ask(
        user: str, method: str, path: str, body: object = None, headers: Any = None
    ) -> requests.Response:
        """Call as a user; with headers as whoever they say, and the path as it is."""
        if headers is None:
            headers = {"Authorization": f"Bearer {token(user)}"} if user else {}
        asked = requests.Request(method, url, json=body, headers=headers)
        prepared = session.prepare_request(asked)
        prepared.url = url + path
        return session.send(prepared, timeout=120, allow_redirects=False)

    ask.token = token  # type: ignore[attr-defined]
    ask.url = url  # type: ignore[attr-defined]
    ask.site = folder / "site.yaml"  # type: ignore[attr-defined]
    ask.log = folder / "api.log"  # type: ignore[attr-defined]

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
        rows = call(user, "GET", "/pacsgrid/api/studies").json()["rows"]
        assert {study["project"] for study in rows} == {project}
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


@pytest.fixture(scope="module")
def asked(filled: Stack, held: str, call: Call) -> dict[str, str]:
    """A run of the project demo that waits for an answer: what names it."""
    run = filled.trigger({"project": "demo", "only": held}, dag="review_held")
    task = question(filled, "review_held", run)["task_instance"]
    return {
        **{"dag_id": "review_held", "dag_run_id": run, "run_id": run, "task_id": "ask"},
        **{"map_index": str(task["map_index"]), "try_number": "1", "task_try_number": "1"},
        **{"xcom_key": "return_value", "key": "return_value", "project": "demo"},
        **{"pool_name": "default_pool", "variable_key": "v", "connection_id": "c"},
        "ti_id": task["id"],
    }


def _kept(stack: Stack) -> dict[str, object]:
    """What strangers must not change: runs, tasks, answers, pauses, pools, variables."""
    tables = {
        "dag_run": "dag_id, run_id, state, conf, queued_at",
        "task_instance": "dag_id, run_id, task_id, map_index, try_number",
        "hitl_detail": "ti_id, responded_at, chosen_options",
        "xcom": "dag_id, run_id, task_id, key, value",
        "dag": "dag_id, is_paused, is_stale",
        "slot_pool": "pool, slots",
        "variable": "key, val",
        "connection": "conn_id",
        "backfill": "id",
        "dag_run_note": "dag_run_id, content",
        "task_instance_note": "ti_id, content",
    }
    kept: dict[str, object] = {}
    with closing(psycopg2.connect(stack.postgres.dsn("airflow"))) as db, db.cursor() as cursor:
        for table, columns in tables.items():
            where = " WHERE dag_id IN ('review_held', 'ingest_studies')"
            about = where if columns.startswith("dag_id, run_id") else ""
            cursor.execute(f"SELECT {columns} FROM {table}{about}")
            kept[table] = sorted(map(str, cursor.fetchall()))
    return kept


# What starts runs of ours, and those runs.
_STARTED = ("ingest_received", "nightly_sync", "review_held", "ingest_studies")


def _let_end(stack: Stack, asked: dict[str, str]) -> None:
    """Wait until nothing changes by itself what is kept: of all runs only the asked one waits.

    What an asset event, or a run that it starts, will start counts as on its way.
    """
    with closing(psycopg2.connect(stack.postgres.dsn("airflow"))) as db, db.cursor() as cursor:
        db.autocommit = True

        def ended() -> bool:
            # One statement, one moment: what leaves one table for another is seen in one of them.
            cursor.execute(
                "SELECT count(*) FROM (SELECT 1 FROM asset_dag_run_queue WHERE target_dag_id IN %s"
                " UNION ALL SELECT 1 FROM dag_run WHERE dag_id IN %s"
                " AND state IN ('queued', 'running') AND run_id <> %s"
                " UNION ALL SELECT 1 FROM task_instance WHERE run_id = %s"
                " AND state IN ('scheduled', 'queued', 'running')) AS on_its_way",
                (_STARTED, _STARTED, asked["run_id"], asked["run_id"]),
            )
            return cursor.fetchone() == (0,)

        wait_until(ended, 300, 0.5)


# Who is no operator and has nothing to do with the project demo, with what they are refused by.
STRANGERS = ("jan", "petr", "cizi", "left", "")


def test_a_stranger_finds_and_changes_nothing_at_any_endpoint(
    filled: Stack, call: Call, asked: dict[str, str], held: str
) -> None:
    document = unauthorised_requests.declared(call("ota", "GET", "/openapi.json").json())
    secrets = frozenset({asked["run_id"], held, asked["ti_id"]})
    every = list(unauthorised_requests.endpoints(document, asked))
    assert len(every) > 150 and {one.route for one in every} > {"/ui/dags", "/api/v2/dags"}
    _let_end(filled, asked)
    before = _kept(filled)
    for user in STRANGERS:
        for one in every:
            if user not in ("jan", "cizi") and (one.method != "GET" or "~" in one.path):
                continue
            body = None if one.method == "GET" else one.body
            answer = call(user, one.method, one.path, body)
            where = (user, one.method, one.path, answer.status_code)
            assert not unauthorised_requests.told(one, answer, secrets), (
                *where,
                answer.text[:2000],
            )
            assert answer.status_code < 500, (*where, answer.text[:500])
            if one.names_run and answer.status_code not in (401, 403, 404, 405, 422):
                # An empty list, as for a run that there is not.
                nowhere = one.path.replace(asked["run_id"], "manual__0").replace(
                    quote(asked["run_id"]), "manual__0"
                )
                other = call(user, one.method, nowhere, body)
                assert (other.status_code, other.text) == (answer.status_code, answer.text), where
            if answer.ok and "historical_metrics" in one.path:
                states = answer.json()["task_instance_states"]
                assert not any(states.values()), where
            if answer.ok and '"total_entries"' in answer.text and "dagRuns" in one.path:
                assert answer.json()["total_entries"] == 0, where
    _let_end(filled, asked)  # what a stranger might have started, too
    assert _kept(filled) == before
    # What was asked for is there: the project's own steward sees it at the same addresses.
    seen = [one for one in every if one.method == "GET" and one.names_run]
    seen = [one for one in seen if not one.path.endswith("/wait")]  # it would wait for the answer
    shown = [one for one in seen if call("anna", "GET", one.path).status_code == 200]
    assert len(shown) > 10, [one.path for one in shown]


def test_no_disguise_shows_a_stranger_what_is_not_theirs(
    filled: Stack, call: Call, asked: dict[str, str], held: str
) -> None:
    run = f"/api/v2/dags/review_held/dagRuns/{quote(asked['run_id'])}"
    question_at = f"{run}/taskInstances/ask/{asked['map_index']}/hitlDetails"
    leave = {"chosen_options": ["Leave it held"], "params_input": {"profile": None, "reason": ""}}
    _let_end(filled, asked)
    before = _kept(filled)
    # A token in the address is no token.
    nobody = f"{run}?access_token={call.token('anna')}&token={call.token('anna')}"
    assert call("", "GET", nobody).status_code == 401
    for user in ("jan", "petr", "left"):
        for way, headers in unauthorised_requests.disguises(call.token(user), run):
            for method in ("GET", "HEAD", "OPTIONS"):
                answer = call(user, method, way, None, headers)
                assert held not in answer.text, (user, method, way, headers)
                assert '"dag_run_id"' not in answer.text, (user, method, way, headers)
        listed = "/api/v2/dags/~/dagRuns/~/hitlDetails"
        for way, headers in unauthorised_requests.disguises(call.token(user), listed):
            answer = call(user, "GET", way, None, headers)
            assert asked["run_id"] not in answer.text, (user, way, headers)
        for way, headers in unauthorised_requests.disguises(call.token(user), question_at):
            answer = call(user, "PATCH", way, leave, headers)
            assert answer.status_code in (307, 401, 403, 404, 405, 422), (user, way, headers)
    _let_end(filled, asked)  # what a stranger might have started, too
    assert _kept(filled) == before


def test_who_is_let_in_is_whom_airflow_takes(call: Call) -> None:
    listed = "/api/v2/dags/~/dagRuns/~/hitlDetails"
    for user in ("anna", "ota"):
        for headers in (
            {"Cookie": f"_token={call.token(user)}"},
            {"Cookie": f"_token={call.token(user)}", "Authorization": "Bearer"},
            {"Authorization": f"bearer {call.token(user)}"},
        ):
            answer = call("", "GET", listed, None, headers)
            assert answer.status_code == 200, (user, headers, answer.text)
    mixed = {
        "Cookie": f"_token={call.token('anna')}",
        "Authorization": f"Bearer {call.token('jan')}",
    }
    assert call("", "GET", "/ui/auth/me", None, mixed).json()["username"] == "jan"


def test_a_task_s_api_takes_no_user_s_token(call: Call, asked: dict[str, str]) -> None:
    for user in ("jan", "anna", "ota"):
        path = f"/execution/xcoms/review_held/{quote(asked['run_id'])}/ask/return_value"
        assert call(user, "GET", path).status_code in (401, 403)
        assert call(user, "GET", f"/execution/hitlDetails/{asked['ti_id']}").status_code in (
            401,
            403,
        )


def test_a_project_that_left_makes_nobody_an_operator(
    filled: Stack, call: Call, asked: dict[str, str]
) -> None:
    """Its steward sees no run; its runs are seen by operators alone."""
    gone = {"project": "left", "only": "st-" + "1" * 20}
    with closing(psycopg2.connect(filled.postgres.dsn("airflow"))) as db, db, db.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dag_run (dag_id, run_id, run_type, state, conf, run_after, clear_number,"
            " span_status, queued_at, log_template_id) SELECT dag_id, 'manual__left', run_type,"
            " 'success', %s, run_after, 0, span_status, queued_at, log_template_id FROM dag_run"
            " WHERE run_id = %s",
            (json.dumps(gone), asked["run_id"]),
        )
    path = "/api/v2/dags/review_held/dagRuns/manual__left"
    assert call("ota", "GET", path).status_code == 200
    for user in ("left", "jan", "anna"):
        assert call(user, "GET", path).status_code == 404
        assert call(user, "PATCH", path, {"state": "failed"}).status_code in (403, 404)
        assert "manual__left" not in call(user, "GET", "/api/v2/dags/~/dagRuns").text
    assert call("left", "GET", "/api/v2/pools").status_code == 403
    assert call("left", "GET", "/api/v2/dags/review_held/dagRuns").json()["total_entries"] == 0
    assert _start(call, "left", "review_held", project="left").status_code == 403
    assert _start(call, "left", "review_held", project="demo").status_code == 403


def test_a_steward_pauses_nothing(call: Call) -> None:
    for user in ("anna", "jan", "cizi"):
        for path in ("/api/v2/dags/ingest_studies", "/api/v2/dags?dag_id_pattern=ingest"):
            assert call(user, "PATCH", path, {"is_paused": True}).status_code == 403
    assert call("ota", "PATCH", "/api/v2/dags/ingest_studies", {"is_paused": False}).ok


def test_what_the_form_does_not_have_is_not_kept(filled: Stack, call: Call) -> None:
    canary = "Kanarek8507121234"
    runs = "/api/v2/dags/ingest_studies/dagRuns"
    dry = {"project": "demo", "source": "drop", "dry_run": True}
    for user in ("anna", "ota"):
        for body in (
            {"conf": {**dry, "patient_id": canary}},
            {"conf": {**dry, canary: 1}},
            {"conf": dry, "note": canary},
            {"conf": dry, "dag_run_id": canary},
        ):
            refused = call(user, "POST", runs, {"logical_date": None, **body})
            assert refused.status_code == 400, (body, refused.text)
            assert canary not in refused.text
    # Refused by the form's own patterns, what was sent is not kept for the audit either.
    for user, dag, conf in (
        ("anna", "withdraw_patient", {"project": "demo", "subject": canary}),
        ("anna", "release_cohort", {"project": "demo", "members": [f"{canary} x"]}),
        ("ota", "ingest_studies", {**dry, "source": canary}),
    ):
        assert _start(call, user, dag, **conf).status_code == 400
    odd = f"{runs}?PatientName={canary}&logical_date={canary}"
    assert call("anna", "POST", odd, {"logical_date": None, "conf": {"x": 1}}).status_code == 400
    assert call("anna", "POST", odd, {"logical_date": None, "conf": dry}).status_code == 200
    airflow = str(Path(sys.executable).parent / "airflow")
    conf = json.dumps({**dry, "patient_id": canary})
    command = [airflow, "dags", "trigger", "ingest_studies", "--conf", conf]
    done = subprocess.run(command, env=filled.airflow_env(), capture_output=True, text=True)
    assert done.returncode != 0 and "form does not have" in done.stderr + done.stdout
    assert call("anna", "GET", f"/dicom-web/studies?PatientName={canary}").status_code == 403
    assert call("anna", "GET", f"/api/v2/dags?x={canary}").status_code == 200
    assert canary not in call.log.read_text()
    assert canary.encode() not in filled.postgres.dump("airflow")


def test_what_a_run_is_about_is_written_down_when_it_starts(filled: Stack, call: Call) -> None:
    dry = {"source": "drop", "dry_run": True}
    started = call(
        "anna", "POST", "/api/v2/dags/ingest_studies/dagRuns", {"logical_date": None, "conf": dry}
    )
    assert started.json()["conf"] == {**dry, "project": "demo"}
    assert filled.watch(started.json()["dag_run_id"]) == "success"


def _log_in(call: Call, oidc: OidcProvider, name: str) -> requests.Session:
    """Log in on Airflow's page as a browser does."""
    browser = requests.Session()
    browser.trust_env = False
    url = call.url  # type: ignore[attr-defined]
    sent = browser.get(f"{url}/auth/login/oidc?next={url}/", allow_redirects=False, timeout=60)
    assert sent.status_code == 302 and sent.headers["Location"].startswith(oidc.issuer), sent.text
    assert "code_challenge_method=S256" in sent.headers["Location"]
    browser.get(f"{sent.headers['Location']}&as={name}", timeout=60)
    # The cookie is for HTTPS where Airflow is; the page itself is of no interest.
    browser.get(f"{url}/auth/", timeout=60)
    return browser


def _seen(call: Call, browser: requests.Session) -> requests.Response:
    return browser.get(f"{call.url}/pacsgrid/api/me", timeout=60)  # type: ignore[attr-defined]


def test_people_of_the_provider_have_the_roles_of_their_groups(
    call: Call, oidc: OidcProvider
) -> None:
    eva = oidc.people["eva"]
    assert _seen(call, _log_in(call, oidc, "eva")).status_code == 401  # in no group
    eva.groups = ["demo-viewers", "elsewhere"]
    browser = _log_in(call, oidc, "eva")
    me = _seen(call, browser)
    assert me.status_code == 200, me.text
    assert (me.json()["projects"], me.json()["reviews"]) == (["demo"], False)
    # Another group: the login ends with the next check, and the next login has its role.
    eva.groups = ["demo-stewards"]
    logins = Logins(load_site(call.site), _in_six_minutes)  # type: ignore[attr-defined]
    oidc.now = lambda: _in_six_minutes().timestamp()
    assert logins.check().ended == 1
    oidc.now = time.time
    wait_until(lambda: not _seen(call, browser).ok, what="that the page lets nobody in")
    browser = _log_in(call, oidc, "eva")
    assert _seen(call, browser).json()["reviews"] is True
    # In no group: the login ends, and so does FAB's own session.
    eva.groups = []
    oidc.now = lambda: _in_six_minutes().timestamp()
    assert logins.check().ended == 1
    oidc.now = time.time
    wait_until(lambda: not _seen(call, browser).ok, what="that the page lets nobody in")
    again = browser.get(f"{call.url}/auth/login/", allow_redirects=False)  # type: ignore[attr-defined]
    assert again.status_code == 200 and "oidc" in again.text
    trail = [one.what for one in logins.ledger.logins.events(oidc.issuer, eva.subject)]
    assert trail == ["refused", "logged in", "ended", "logged in", "left"]


def _in_six_minutes() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=6)


def test_the_first_login_makes_no_user(call: Call, oidc: OidcProvider) -> None:
    who = oidc.add("nova", "demo-viewers")
    assert _seen(call, _log_in(call, oidc, "nova")).status_code == 401
    trail = Ledger(load_site(call.site).ledger_dsn).logins.events(  # type: ignore[attr-defined]
        oidc.issuer, who.subject
    )
    assert [one.what for one in trail] == ["logged in", "logged out"]


def test_the_api_takes_access_tokens_of_the_provider(call: Call, oidc: OidcProvider) -> None:
    oidc.people["jana"].groups = ["demo-viewers"]
    me = "/pacsgrid/api/me"

    def sent(token: str) -> requests.Response:
        return call("", "GET", me, None, {"Authorization": f"Bearer {token}"})

    assert sent(oidc.token_of("jana")).json()["projects"] == ["demo"]
    oidc.people["jana"].groups = ["elsewhere"]
    for token in (
        oidc.token_of("jana"),
        oidc.token_of("jana", aud="other"),
        oidc.token(sub="anna", groups=["operators"]),
        oidc.token(sub=oidc.people["nova"].subject, groups=["operators"]),
    ):
        assert sent(token).status_code in (401, 403), token
    # Local accounts go on.
    assert call("anna", "GET", me).json()["projects"] == ["demo"]
