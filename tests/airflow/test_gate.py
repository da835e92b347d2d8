"""Which projects a request to Airflow's API is for; that it is refused is tried in e2e."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from requests import Response
from sqlalchemy import create_engine, func, select, union_all
from sqlalchemy.orm import Session, aliased, joinedload

from pacsgrid.cli.roles import STARTS, wanted
from pacsgrid.errors import ConfigError
from pacsgrid.pacs.storage_scp.asset_events import AssetEvents
from pacsgrid.run_conf import DAGS, PROJECT_DAGS, check_conf
from pacsgrid.web.access import OPERATOR_VIEW
from pacsgrid.web.endpoint_rules import (
    ANNOUNCE,
    ANSWER,
    TRIGGER,
    Rule,
    check_body,
    parsed,
    projects_of,
    rule_of,
    runs_asked_for,
    with_project,
)
from pacsgrid.web.row_filter import limited_to

EVERY = ("lung", "brain")
PROJECT = {"profile": "basic", "home_zone": "brno", "key_file": "/x/key"}
DAG = "/api/v2/dags/{dag_id}"
REVIEW = {"dag_id": "review_held"}


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": "/x/vault.key",
        "sources": {"drop": {"kind": "folder", "folder": "/x/drop"}},
        "zones": {},
        "projects": dict.fromkeys(EVERY, PROJECT),
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))


@pytest.mark.parametrize(
    ("rest", "body", "projects"),
    [
        ("dagRuns", b'{"conf": {"project": "brain"}}', ("brain",)),
        ("dagRuns", b'{"conf": {"project": "brain", "project": "lung"}}', ("lung",)),
        ("dagRuns", b'{"conf": {}}', ("lung",)),
        ("dagRuns", b'{"conf": null}', ("lung",)),
        ("dagRuns", b"{}", ("lung",)),
        ("dagRuns", b"", ("lung",)),
        ("dagRuns", '{"conf": {"project": "brain"}}'.encode("utf-16"), ("brain",)),
        # One that is not there is nobody's.
        ("dagRuns", b'{"conf": {"project": "elsewhere"}}', ("elsewhere",)),
        ("dagRuns", b'{"conf": {"project": ["brain"]}}', ("",)),
        ("dagRuns", b'{"conf": ["brain"]}', ("",)),
        ("dagRuns", b'[{"conf": {"project": "brain"}}]', EVERY),
        ("dagRuns", b"no JSON", EVERY),
        ("clearTaskInstances", b"{}", EVERY),
        ("clearTaskInstances", b'{"dag_run_id": 7}', EVERY),
        ("clearTaskInstances", b'{"dag_run_id": "~"}', EVERY),
        ("clearTaskInstances", b'{"dag_run_id": "r1"}', ("brain",)),
        ("clearTaskInstances", b'{"dag_run_id": "gone"}', ("",)),
        ("clearTaskInstances", b'{"dag_run_id": "none such"}', ()),
        ("clearDagRuns", b"{}", EVERY),
        ("clearDagRuns", b'{"dag_run_id": "r1"}', EVERY),
    ],
)
def test_a_request_is_for_the_projects_it_names(
    rest: str, body: bytes, projects: tuple[str, ...]
) -> None:
    confs = {"r1": {"project": "brain"}, "gone": {}}
    named = projects_of("POST", f"{DAG}/{rest}", REVIEW, parsed(body), confs)
    assert tuple(named) == projects


def test_what_is_for_any_dag_is_for_every_project() -> None:
    route, path = f"{DAG}/dagRuns/{{dag_run_id}}/taskInstances", {"dag_id": "~", "dag_run_id": "~"}
    assert tuple(projects_of("PATCH", route, path, {}, {})) == EVERY


def test_what_is_for_the_whole_site_is_for_every_project() -> None:
    for dag in ("nightly_sync", "replicate_and_verify"):
        assert tuple(projects_of(*TRIGGER, {"dag_id": dag}, {}, {})) == EVERY


def test_many_runs_at_once_are_for_every_project() -> None:
    assert tuple(projects_of("PATCH", f"{DAG}/dagRuns", REVIEW, {"actions": []}, {})) == EVERY


def test_every_dag_that_a_steward_starts_is_behind_the_gate() -> None:
    assert set(STARTS) == set(PROJECT_DAGS)


def test_a_run_keeps_the_project_it_was_started_for() -> None:
    for conf in ({}, None):
        assert with_project("review_held", {"conf": conf})["conf"] == {"project": "lung"}
    assert with_project("review_held", {"conf": {"project": "brain"}})["conf"] == {
        "project": "brain"
    }
    assert with_project("site_check", {"conf": {}})["conf"] == {}


def test_an_endpoint_that_nobody_listed_is_for_operators() -> None:
    assert rule_of("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/new") is Rule.OPERATE
    assert rule_of("PUT", "/api/v2/dags") is Rule.OPERATE
    for method, route in (
        ("PATCH", DAG),
        ("PATCH", "/api/v2/dags"),
        ("DELETE", DAG),
        ("PATCH", "/api/v2/pools/{pool_name:path}"),
        ("POST", "/api/v2/variables"),
        ("GET", "/api/v2/connections"),
        ("POST", "/api/v2/backfills"),
        ("POST", "/api/v2/assets/{asset_id}/materialize"),
    ):
        assert rule_of(method, route) is Rule.OPERATE, (method, route)


def test_no_project_can_make_its_readers_operators() -> None:
    roles = wanted(("operator", "(operator)"[1:-1]))
    holders = {name for name, may in roles.items() if ("can_read", OPERATOR_VIEW) in may}
    assert holders == {"Operator"}


@pytest.mark.parametrize("name", ["patient_id", "PatientName", "", "Project", "note"])
def test_a_key_that_the_form_does_not_have_is_refused_and_not_told(name: str) -> None:
    with pytest.raises(ValueError, match="1 keys that its form does not have") as told:
        check_conf("review_held", {"project": "lung", name: "Novák^Jan"})
    assert "Nov" not in str(told.value)
    check_conf("somebody_else_s", {name: 1})


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (TRIGGER, {"conf": {"patient_id": "8507121234"}}),
        (TRIGGER, {"conf": {}, "note": "Novák"}),
        (TRIGGER, {"conf": {}, "dag_run_id": "Novak"}),
        (TRIGGER, {"conf": {}, "dag_run_id": "manual__8507121234"}),
        (TRIGGER, {"conf": {}, "partition_key": "Novak"}),
        (TRIGGER, {"conf": {}, "Novak": 1}),
        (ANSWER, {"chosen_options": ["Reject"], "params_input": {"patient": "Novak"}}),
        (ANSWER, {"chosen_options": ["Reject"], "patient": "Novak"}),
        (("PATCH", f"{DAG}/dagRuns/{{dag_run_id}}"), {"note": "Novak"}),
        (("PATCH", f"{DAG}/dagRuns"), {"actions": [{"entities": [{"note": "Novak"}]}]}),
        (("POST", f"{DAG}/clearTaskInstances"), {"note": "Novak"}),
        (("POST", "/api/v2/backfills"), {"dag_id": "review_held", "dag_run_conf": {"x": 1}}),
    ],
)
def test_free_text_does_not_get_into_airflow(
    asked: tuple[str, str], body: dict[str, object]
) -> None:
    path = REVIEW if "{dag_id}" in asked[1] else {}
    with pytest.raises(ConfigError) as told:
        check_body(*asked, path, body, "")
    assert "Nov" not in str(told.value) and "8507" not in str(told.value)


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (TRIGGER, {"conf": {"project": "lung"}, "logical_date": None, "note": ""}),
        (TRIGGER, {"conf": None, "dag_run_id": "manual__2026-01-01T00:00:00+00:00"}),
        (TRIGGER, {"conf": {}, "dag_run_id": "manual__2026-01-01T00:00:00.5Z"}),
        (ANSWER, {"chosen_options": ["Reject"], "params_input": {"profile": None, "reason": ""}}),
        (ANSWER, {"chosen_options": ["Approve"]}),
        (("PATCH", f"{DAG}/dagRuns/{{dag_run_id}}"), {"state": "failed", "note": None}),
    ],
)
def test_what_a_form_sends_is_taken(asked: tuple[str, str], body: dict[str, object]) -> None:
    check_body(*asked, REVIEW, body, "")


def test_an_event_names_a_source_and_a_project_and_nothing_else() -> None:
    for extra in ({"source": "drop", "project": "lung"}, {}, None):
        check_body(*ANNOUNCE, {}, {"asset_id": 1, "extra": extra}, "pacsgrid://received/")
    for extra in ({"patient": "Novak"}, {"source": "Novak", "project": "lung"}, {"source": []}):
        with pytest.raises(ConfigError):
            check_body(*ANNOUNCE, {}, {"asset_id": 1, "extra": extra}, "pacsgrid://received/")
    check_body(*ANNOUNCE, {}, {"asset_id": 1, "extra": {"x": 1}}, "s3://other")


def test_what_the_receiver_announces_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def answered(_self: Any, method: str, path: str, **more: Any) -> Response:
        answer = Response()
        answer.status_code, known = 200, {"id": 7, "uri": "pacsgrid://received/"}
        answer._content = json.dumps({"access_token": "t", "assets": [known]}).encode()
        if (method, path) == ANNOUNCE:
            told.append(more["json"])
        return answer

    monkeypatch.setattr(AssetEvents, "_request", answered)
    says = {"source": "drop", "project": "lung"}
    AssetEvents("http://x", "receiver", "p", "pacsgrid://received", says).announce()
    check_body(*ANNOUNCE, {}, told[0], "pacsgrid://received/")
    assert told == [{"asset_id": 7, "extra": says}]


@pytest.fixture(scope="module")
def rows() -> Iterator[Session]:
    """Airflow's own tables with a run of each project, of one that left and of none."""
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    import_all_models()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        runs = [
            ("review_held", "lung", {"project": "lung"}),
            ("review_held", "brain", {"project": "brain"}),
            ("review_held", "left", {"project": "left"}),
            ("review_held", "none", {}),
            ("review_held", "odd", {"project": ["lung"]}),
            ("nightly_sync", "night", {}),
            ("somebody_else_s", "other", {}),
        ]
        for dag, run, conf in runs:
            session.add(
                DagRun(dag_id=dag, run_id=run, conf=conf, run_type="manual", state="success")
            )
        session.flush()
        for _, run, _ in runs:
            insert = TaskInstance.__table__.insert().values(
                id=uuid4(),
                dag_id=dict((r, d) for d, r, _ in runs)[run],
                task_id="t",
                run_id=run,
                map_index=-1,
                pool="default_pool",
                pool_slots=1,
                try_number=1,
                max_tries=0,
                queue="default",
                priority_weight=1,
                span_status="x",
                executor_config={},
            )
            session.execute(insert)
        session.commit()
        yield session


def test_rows_of_other_projects_runs_are_not_there(rows: Session) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    other, task = aliased(DagRun), aliased(TaskInstance)
    ways: dict[str, Any] = {
        "names": select(DagRun.run_id),
        "alias": select(other.run_id),
        "subquery": select(select(DagRun.run_id).subquery().c.run_id),
        "cte": select(select(DagRun.run_id).cte("x").c.run_id),
        "tasks": select(TaskInstance.run_id),
        "tasks by alias": select(task.run_id),
        "tasks with runs": select(TaskInstance.run_id).join(TaskInstance.dag_run),
        "tasks with aliased runs": select(task.run_id).join(task.dag_run.of_type(other)),
        "runs of tasks": select(DagRun.run_id).where(DagRun.run_id.in_(select(task.run_id))),
        "union": union_all(select(DagRun.run_id), select(other.run_id).where(other.id < 0)),
    }
    seen = {
        frozenset({"lung"}): {"lung", "other"},
        frozenset({"brain"}): {"brain", "other"},
        frozenset(EVERY): {"lung", "brain", "night", "other"},
        frozenset({"left"}): {"left", "other"},
        frozenset(): {"other"},
        None: {"lung", "brain", "left", "none", "odd", "night", "other"},
    }
    for projects, names in seen.items():
        with limited_to(projects):  # type: ignore[arg-type]
            for way, asked in ways.items():
                assert set(rows.scalars(asked)) == names, (projects, way)
            for count in (
                select(func.count()).select_from(DagRun),
                select(func.count(other.id)),
                select(func.count()).select_from(select(DagRun).subquery()),
            ):
                assert rows.scalar(count) == len(names)
            rows.expunge_all()
            loaded = rows.scalars(select(TaskInstance).options(joinedload(TaskInstance.dag_run)))
            assert {one.dag_run.run_id for one in loaded.unique()} == names
            for number, name in enumerate(json.loads('["lung", "brain", "left"]'), 1):
                rows.expunge_all()
                assert (rows.get(DagRun, number) is not None) is (name in names)


def test_every_table_about_runs_is_limited(rows: Session) -> None:
    from pacsgrid.web.row_filter import _condition, load_models

    limited = set()
    with limited_to(frozenset({"lung"})):
        for mapper in load_models():
            if _condition(mapper, frozenset({"lung"}), False) is not None:
                limited.add(mapper.class_.__name__)
                # A condition that did not follow the alias would name a table that is not there.
                rows.scalars(select(aliased(mapper.class_))).unique().all()
                rows.scalars(select(mapper.class_)).unique().all()
    assert limited >= {
        "AssetEvent",
        "DagRun",
        "DagRunNote",
        "HITLDetail",
        "HITLDetailHistory",
        "Log",
        "RenderedTaskInstanceFields",
        "TaskInstance",
        "TaskInstanceHistory",
        "TaskInstanceNote",
        "TaskMap",
        "TaskStateStoreModel",
        "XComModel",
    }


def test_the_orm_refuses_a_run_with_an_unknown_key_whoever_starts_it(rows: Session) -> None:
    from airflow.models.dagrun import DagRun

    import pacsgrid.airflow.policy  # noqa: F401

    with rows.no_autoflush:
        rows.add(
            DagRun(
                dag_id="review_held",
                run_id="x",
                conf={"project": "lung", "patient_id": "8507121234"},
                run_type="manual",
                state="queued",
            )
        )
        with pytest.raises(ValueError, match="its form does not have"):
            rows.flush()
        rows.rollback()
    assert set(DAGS) > set(PROJECT_DAGS)


def test_the_audit_log_keeps_nothing_of_what_was_sent(rows: Session) -> None:
    from airflow.models.log import Log

    import pacsgrid.airflow.policy  # noqa: F401

    sent = {"method": "POST", "conf": {"subject": "Novak"}, "xcom_key": "Novak", "state": "failed"}
    text = "Executor reported that the task instance finished"
    told = {
        ("withdraw_patient", json.dumps(sent)): {"method": "POST", "state": "failed"},
        ("~", json.dumps({**sent, "state": "Jan Novak"})): {"method": "POST"},
        (None, json.dumps(sent)): {"method": "POST", "xcom_key": "Novak", "state": "failed"},
        ("somebody_else_s", json.dumps(sent)): sent,
        ("withdraw_patient", text): text,
        ("withdraw_patient", '{"host_name": "h", "full_command": "[Novak]"}'): {"host_name": "h"},
        ("withdraw_patient", None): None,
    }
    for (dag, extra), kept in told.items():
        entry = Log(event="trigger_dag_run", task_instance=None, extra=extra, dag_id=dag)
        rows.add(entry)
        rows.flush()
        rows.refresh(entry)
        assert (json.loads(entry.extra) if isinstance(kept, dict) else entry.extra) == kept
        rows.rollback()
    row = {"event": "cli", "extra": '{"full_command": "Novak"}', "dag_id": "site_check"}
    rows.bulk_insert_mappings(Log, [row, {**row, "extra": None}])  # type: ignore[arg-type]
    assert set(rows.scalars(select(Log.extra))) == {"{}", None}
    rows.rollback()


@pytest.mark.parametrize(
    ("path", "query", "runs"),
    [
        ({"dag_id": "review_held", "dag_run_id": "a b+c"}, b"", ["a b+c"]),
        ({"dag_id": "~", "dag_run_id": "r1"}, b"limit=1", ["r1"]),
        ({"dag_id": "review_held"}, b"run_ids=r1&run_ids=r%2B2", ["r+2", "r1"]),
        ({"dag_id": "~", "dag_run_id": "~"}, b"dag_runs_limit=10", []),
    ],
)
def test_an_address_names_runs(path: dict[str, str], query: bytes, runs: list[str]) -> None:
    assert runs_asked_for(path, query) == runs
