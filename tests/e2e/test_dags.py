"""Each DAG runs once in a real Airflow, against the embedded parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.stack import GUEST, OPERATOR, Stack
from pacsgrid.grid import get_document
from pacsgrid.ledger import Overview
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.bids import open_derivative
from pacsgrid.pipeline.doctor import find_faults
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.waiting import count_unfinished
from support.human_input import answer, question
from support.statsd_server import Server
from support.waiting import wait_until

pytestmark = pytest.mark.e2e


def _runs(stack: Stack, dag: str) -> list[str]:
    """Return a DAG's runs, the newest first."""
    path = f"/dags/{dag}/dagRuns?order_by=-run_after&limit=100"
    return [run["dag_run_id"] for run in stack.api("GET", path).json()["dag_runs"]]


def _pools(stack: Stack, dag: str, run: str) -> dict[str, str]:
    tasks = stack.api("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances").json()["task_instances"]
    return {task["task_id"]: task["pool"] for task in tasks}


def test_maintenance_runs(filled: Stack) -> None:
    dags = ("audit_replicas", "housekeeping", "replicate_and_verify")
    runs = {dag: filled.trigger({}, dag) for dag in dags}
    assert {dag: filled.watch(run, dag=dag) for dag, run in runs.items()} == dict.fromkeys(
        dags, "success"
    )
    tended = runs["replicate_and_verify"]
    assert _pools(filled, "replicate_and_verify", tended) == {"tend_demo": "pacsgrid_zone_brno"}
    pool = filled.api("GET", "/pools/pacsgrid_zone_brno", user=OPERATOR).json()
    assert pool["slots"] == 8
    # The ingest of the fixture made another run, by its asset.
    assert any(run.startswith("asset_triggered__") for run in _runs(filled, "replicate_and_verify"))


@contextmanager
def _postman(stack: Stack) -> Iterator[list[EmailMessage]]:
    """Yield the mails of failed tasks, sent through an Airflow connection and the site file."""
    got: list[EmailMessage] = []

    class Postman:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            content = envelope.original_content or b""
            got.append(message_from_bytes(content, EmailMessage, policy=policy.default))
            return "250 taken"

    site = stack.dir / "site.yaml"
    before = site.read_text()
    alerts = {"alerts": {"mail_to": ["it@example.org"], "connection": "mail"}}
    server = Controller(Postman(), hostname="127.0.0.1", port=reserve_port())
    server.start()
    connection = {
        "connection_id": "mail",
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": server.port,
        "extra": json.dumps(
            {"from_email": "airflow@example.org", "disable_ssl": True, "disable_tls": True}
        ),
    }
    try:
        assert stack.api("POST", "/connections", connection, OPERATOR).status_code == 201
        site.write_text(before + yaml.safe_dump(alerts))
        yield got
    finally:
        site.write_text(before)
        stack.api("DELETE", "/connections/mail", user=OPERATOR)
        server.stop()


def test_a_site_check_fails_and_tells_what_to_do(filled: Stack) -> None:
    key = filled.dir / "project.key"
    key.chmod(0o644)
    try:
        with _postman(filled) as mails:
            run = filled.trigger({}, "site_check")
            assert filled.watch(run, dag="site_check") == "failed"
            # Airflow tells of the failure after it has entered it.
            wait_until(lambda: bool(mails), 60, 0.5)
    finally:
        key.chmod(0o600)
    (mail,) = mails
    assert mail["To"] == "it@example.org" and "site_check, task check" in mail["Subject"]
    assert str(key) not in mail.as_string()
    path = f"/dags/site_check/dagRuns/{run}/taskInstances/check/logs/1"
    log = filled.api("GET", path).text
    assert "chmod 600" in log and "zone brno" in log and "read back unchanged" in log


def test_gauges_reach_the_site_s_statsd(filled: Stack, statsd: Server) -> None:
    statsd.heard()  # what came before
    run = filled.trigger({}, "site_metrics")
    assert filled.watch(run, dag="site_metrics") == "success"
    heard = statsd.heard()
    with ProjectContext(filled.site, "demo") as context:
        verified = context.ledger.studies.count_by_state("demo")["verified"]
    assert heard["airflow.pacsgrid.studies.demo.verified"] == f"{verified}|g"
    assert heard["airflow.pacsgrid.away.praha"] == "0|g"


def test_what_is_announced_is_ingested_once(filled: Stack) -> None:
    asset = filled.api("GET", "/assets?uri_pattern=pacsgrid://received", user=OPERATOR).json()
    (one,) = asset["assets"]
    told = {"asset_id": one["id"], "extra": {"source": "drop", "project": "demo"}}
    before = _runs(filled, "ingest_received")
    for _ in range(2):
        assert filled.api("POST", "/assets/events", told, OPERATOR).status_code == 200
    wait_until(lambda: len(_runs(filled, "ingest_received")) > len(before), 180, 1)
    for run in set(_runs(filled, "ingest_received")) - set(before):
        assert filled.watch(run, dag="ingest_received") == "success"
        tasks = filled.api("GET", f"/dags/ingest_received/dagRuns/{run}/taskInstances").json()
        started = [t for t in tasks["task_instances"] if t["task_id"] == "ingest"]
        assert len(started) == 1 and started[0]["state"] == "success"
    newest = _runs(filled, "ingest_studies")[0]
    conf = filled.api("GET", f"/dags/ingest_studies/dagRuns/{newest}").json()["conf"]
    assert conf == {"source": "drop", "project": "demo"}
    assert filled.watch(newest) == "success"


def test_a_night_waits_for_its_zone_and_is_over_when_every_study_is_through(filled: Stack) -> None:
    filled.zones["brno"].stop()
    try:
        run = filled.trigger({"late_days": 0}, "nightly_sync")
        waits = f"/dags/nightly_sync/dagRuns/{run}/taskInstances/home_zone_pacs_demo"
        wait_until(lambda: filled.api("GET", waits).json()["state"] == "deferred", 180, 1)
    finally:
        filled.start_zone("brno")
    assert filled.watch(run, dag="nightly_sync") == "success"
    assert _pools(filled, "nightly_sync", run)["synchronise_pacs_demo"] == "pacsgrid_source_pacs"
    assert count_unfinished(filled.site, "demo", "pacs") == {}


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


@contextmanager
def _consent(stack: Stack, table: str) -> Iterator[None]:
    """Let the project demo ask a file for consent."""
    file, before = stack.dir / "site.yaml", (stack.dir / "site.yaml").read_text()
    site = yaml.safe_load(before)
    (stack.dir / "consent.csv").write_text(table)
    site["projects"]["demo"]["consent"] = {"from": "file", "file": str(stack.dir / "consent.csv")}
    file.write_text(yaml.safe_dump(site, sort_keys=False))
    try:
        yield
    finally:
        file.write_text(before)


def test_a_release_and_a_withdrawal_are_approved_and_done(filled: Stack, spent: str) -> None:
    with ProjectContext(filled.site, "demo") as context:
        ref = context.pseudonyms.reference("drop", f"{spent}.1")
        row = context.ledger.instances.of_study(ref)[0]
    wanted = {"project": "demo", "name": "run", "members": [row.study_uid]}
    run = filled.trigger(wanted, "release_cohort")
    asked = question(filled, "release_cohort", run)
    assert "1 " in asked["body"]
    assert answer(filled, asked, chosen_options=["Approve"]).status_code == 200
    assert filled.watch(run, dag="release_cohort") == "success"
    # The patient's consent ends: a withdrawal waits for approval, however often it is asked for.
    with _consent(filled, f"patient_id,consent\n7562{spent[-2:]}/1234,no\n"):
        for _ in range(2):
            night = filled.trigger({}, "check_consent")
            assert filled.watch(night, dag="check_consent") == "success"
    run, *more = [run for run in _runs(filled, "withdraw_patient") if run.startswith("consent__")]
    assert run.startswith(f"consent__demo__{row.subject}__") and not more
    asked = question(filled, "withdraw_patient", run)
    assert "source of consent says" in asked["body"] and "1 " in asked["body"]
    assert answer(filled, asked, chosen_options=["Approve"]).status_code == 200
    assert filled.watch(run, dag="withdraw_patient") == "success"
    with ProjectContext(filled.site, "demo") as context:
        assert context.ledger.studies.state(ref) is StudyState.WITHDRAWN
        assert all(row.proven_at for row in context.ledger.withdrawals.of_project("demo"))
        assert list(find_faults(context)) == []


def test_a_release_is_converted_in_mapped_tasks(filled: Stack) -> None:
    with ProjectContext(filled.site, "demo") as context:
        records = context.ledger.studies.find("demo", [StudyState.VERIFIED])
        members = context.ledger.instances.of_verified_studies([one.ref for one in records[:3]])
        collection = release_cohort(context, "images", members)
    wanted = {"project": "demo", "name": "images", "version": 1}
    for pending in (len(members), 0):
        run = filled.trigger(wanted, "derive_bids")
        assert filled.watch(run, dag="derive_bids") == "success"
        tasks = filled.api("GET", f"/dags/derive_bids/dagRuns/{run}/taskInstances").json()
        states = [one["state"] for one in tasks["task_instances"] if one["task_id"] == "convert"]
        assert states == (["success"] if pending else ["skipped"])
    with ProjectContext(filled.site, "demo") as context:
        text = get_document(context.home, f"{collection}/bids/code/conversion.tsv")
        assert text is not None and len(text.splitlines()) > len(members)
        assert open_derivative(context, "images").pending() == []


def test_the_test_button_asks_a_zone_through_the_api(filled: Stack) -> None:
    zone = filled.site.zone("praha")
    body = {
        "connection_id": "praha",
        "conn_type": "irods",
        "host": zone.host,
        "port": zone.port,
        "schema": zone.name,
        "login": zone.user,
        "password": zone.password.get_secret_value(),
    }
    told = filled.api("POST", "/connections/test", body, OPERATOR).json()
    assert told["status"] is True and "zone praha" in told["message"]
    told = filled.api("POST", "/connections/test", {**body, "password": "no"}, OPERATOR).json()
    assert told["status"] is False
    assert filled.api("POST", "/connections/test", body).status_code == 403
