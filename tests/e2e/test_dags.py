"""Each DAG runs once in a real Airflow, against the embedded parts."""

from __future__ import annotations

import pytest

from hitl import answer, question
from pacsgrid.embedded.stack import GUEST, OPERATOR, Stack
from pacsgrid.ledger import Overview
from pacsgrid.model import StudyState
from pacsgrid.pipeline import Line
from pacsgrid.pipeline.doctor import examine
from pacsgrid.pipeline.waiting import on_their_way
from receiving import eventually

pytestmark = pytest.mark.e2e


def _pools(stack: Stack, dag: str, run: str) -> dict[str, str]:
    tasks = stack.api("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances").json()["task_instances"]
    return {task["task_id"]: task["pool"] for task in tasks}


def test_upkeep_runs(filled: Stack) -> None:
    dags = ("audit_replicas", "housekeeping", "replicate_and_verify")
    runs = {dag: filled.trigger({}, dag) for dag in dags}
    assert {dag: filled.watch(run, dag=dag) for dag, run in runs.items()} == dict.fromkeys(
        dags, "success"
    )
    tended = runs["replicate_and_verify"]
    assert _pools(filled, "replicate_and_verify", tended) == {"tend_demo": "pacsgrid_zone_brno"}
    pool = filled.api("GET", "/pools/pacsgrid_zone_brno", user=OPERATOR).json()
    assert pool["slots"] == 8


def test_a_site_check_fails_and_tells_what_to_do(filled: Stack) -> None:
    key = filled.dir / "project.key"
    key.chmod(0o644)
    try:
        run = filled.trigger({}, "site_check")
        assert filled.watch(run, dag="site_check") == "failed"
    finally:
        key.chmod(0o600)
    path = f"/dags/site_check/dagRuns/{run}/taskInstances/check/logs/1"
    log = filled.api("GET", path).text
    assert "chmod 600" in log and "zone brno" in log and "came back whole" in log


def test_a_night_waits_for_its_zone_and_is_over_when_every_study_is_through(filled: Stack) -> None:
    filled.zones["brno"].stop()
    try:
        run = filled.trigger({"late_days": 0}, "nightly_sync")
        waits = f"/dags/nightly_sync/dagRuns/{run}/taskInstances/home_zone_pacs_demo"
        eventually(lambda: filled.api("GET", waits).json()["state"] == "deferred", 180, 1)
    finally:
        filled.start_zone("brno")
    assert filled.watch(run, dag="nightly_sync") == "success"
    assert _pools(filled, "nightly_sync", run)["synchronise_pacs_demo"] == "pacsgrid_source_pacs"
    assert on_their_way(filled.site, "demo", "pacs") == {}


def test_a_held_study_is_rejected(filled: Stack, spent_held: str) -> None:
    run = filled.trigger({"project": "demo", "only": spent_held}, "review_held")
    asked = question(filled, "review_held", run)
    assert asked["subject"] == f"{spent_held}: patient-mismatch"
    reject = {"chosen_options": ["Reject"], "params_input": {"profile": None, "reason": "mixed"}}
    assert answer(filled, asked, GUEST, **reject).status_code == 403
    assert answer(filled, asked, **reject).status_code == 200
    assert filled.watch(run, dag="review_held") == "success"
    story = Overview(filled.site.ledger_dsn, ["demo"]).story(spent_held)
    assert story is not None and story.held[0].code == "rejected"


def test_a_release_and_a_withdrawal_are_approved_and_done(filled: Stack, spent: str) -> None:
    with Line(filled.site, "demo") as line:
        ref = line.pseudonyms.reference("drop", f"{spent}.1")
        row = line.ledger.instances(ref)[0]
    for dag, wanted in (
        ("release_cohort", {"name": "run", "members": [row.study_uid]}),
        ("withdraw_patient", {"subject": row.subject}),
    ):
        run = filled.trigger({"project": "demo", **wanted}, dag)
        asked = question(filled, dag, run)
        assert "1 " in asked["body"]
        assert answer(filled, asked, chosen_options=["Approve"]).status_code == 200
        assert filled.watch(run, dag=dag) == "success"
    with Line(filled.site, "demo") as line:
        assert line.ledger.state(ref) is StudyState.WITHDRAWN
        assert all(row.proven_at for row in line.cohorts.withdrawals("demo"))
        assert examine(line) == []


def test_the_test_button_asks_a_zone_through_the_api(filled: Stack) -> None:
    zone = filled.site.zone("praha")
    body = {
        "connection_id": "praha",
        "conn_type": "irods",
        "host": zone.host,
        "port": zone.port,
        "schema": zone.name,
        "login": zone.user,
        "password": zone.password,
    }
    told = filled.api("POST", "/connections/test", body, OPERATOR).json()
    assert told["status"] is True and "zone praha" in told["message"]
    told = filled.api("POST", "/connections/test", {**body, "password": "no"}, OPERATOR).json()
    assert told["status"] is False
    assert filled.api("POST", "/connections/test", body).status_code == 403
