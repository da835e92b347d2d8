"""Every DAG file: imported without a connection, complete, and its form is strict."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.encoders import encode_timetable

from pacsgrid import run_conf
from pacsgrid.airflow.dags import RECEIVED, VERIFIED
from pacsgrid.airflow.operators.project import MaintainProjectOperator, TendProjectOperator
from pacsgrid.airflow.pools import SOURCES, ZONES, pool_of, slots
from pacsgrid.config.receiver import DEFAULT_ASSET
from pacsgrid.errors import ConfigError

FILES = sorted((Path(__file__).parents[2] / "dags").glob("*.py"))
INGEST = FILES[0].with_name("ingest_studies.py")
SITE = {
    **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
    "vault_key_file": "/x/vault.key",
    "sources": {
        "metro": {"kind": "dimse", "host": "pacs", "port": 104, "ae_title": "PACS"},
        "drop": {"kind": "folder", "folder": "/x/drop"},
    },
    "zones": {"brno": {"host": "irods", "port": 1247, "user": "svc", "password_file": "/x/pw"}},
    "projects": {
        "lung": {
            "profile": "basic",
            "profiles": ["strict"],
            "home_zone": "brno",
            "key_file": "/x/key",
        }
    },
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose keys and passwords cannot be read: a DAG file has no business with them."""
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(SITE, sort_keys=False))
    monkeypatch.setenv("PACSGRID_SITE", str(path))
    return path


def _dags(path: Path) -> list[DAG]:
    """Read a DAG file as Airflow's DAG processor does, which collects what the file makes."""
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = "builtins"
    try:
        runpy.run_path(str(path))
    finally:
        DagContext.current_autoregister_module_name = None
    return [dag for dag, _ in DagContext.autoregistered_dags]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_file_is_read_without_connections_and_is_complete(
    path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"{path.name} opens a connection when it is read")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    dags = _dags(path)
    assert dags
    for dag in dags:
        assert dag.doc_md and dag.doc_md.startswith("### ")
        assert "pacsgrid" in dag.tags
        for task in dag.tasks:
            assert task.owner != "airflow", task.task_id
            waits = getattr(task, "partial_kwargs", vars(task)).get("response_timeout")
            assert task.execution_timeout or waits, task.task_id
            assert task.on_failure_callback, task.task_id


SCHEDULED = {
    "audit_replicas": "0 7 * * *",
    "check_consent": "0 19 * * *",
    "continue_ingests": "*/10 * * * *",
    "housekeeping": "30 4 * * *",
    "nightly_sync": "0 20 * * *",
    "replicate_and_verify": "15 1 * * *",
    "site_check": "30 6 * * *",
}
# What is wrong now would be wrong again, or the next run is near.
ONCE = {"check", "tell"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_follows_the_site_s_clock_and_tries_again(path: Path, site: Path) -> None:
    lung = {**SITE["projects"]["lung"], "nightly": ["metro"]}
    settings = {**SITE, "time_zone": "Atlantic/Azores", "projects": {"lung": lung}}
    site.write_text(yaml.safe_dump(settings, sort_keys=False))
    (dag,) = _dags(path)
    told = encode_timetable(dag.timetable)["__var"]
    told = told.get("timetable", {}).get("__var", told)
    if path.stem in SCHEDULED:
        assert (told["expression"], told["timezone"]) == (SCHEDULED[path.stem], "Atlantic/Azores")
    else:
        assert "expression" not in told
    for task in dag.tasks:
        given = getattr(task, "partial_kwargs", vars(task))
        assert (given.get("retries", 0) > 0) != (task.task_id in ONCE), task.task_id


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_conf_may_have_what_the_form_has_and_nothing_else(path: Path, site: Path) -> None:
    (dag,) = _dags(path)
    assert run_conf.DAGS[dag.dag_id] == set(dag.params)
    assert (dag.dag_id in run_conf.PROJECT_DAGS) is ("project" in dag.params)


def test_every_dag_s_conf_is_known(site: Path) -> None:
    assert set(run_conf.DAGS) == {path.stem for path in FILES}


INSISTS = {"return_results": ["result", "destination"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_form_insists_on_nothing_but_what_nothing_stands_for(path: Path, site: Path) -> None:
    # Airflow's forms cannot be sent while a text that must not be null is empty.
    (dag,) = _dags(path)
    asked = [task.partial_kwargs.get("params", {}) for task in dag.tasks if task.is_mapped]
    for params in (dag.params, *map(ParamsDict, asked)):
        empty = [n for n in params if params.get_param(n).value == ""]
        assert empty == INSISTS.get(path.stem, [])


def test_assets_join_the_dags(site: Path) -> None:
    def dag_of(name: str) -> DAG:
        (dag,) = _dags(INGEST.with_name(f"{name}.py"))
        return dag

    assert dag_of("ingest_studies").get_task("all_through").outlets == [VERIFIED]
    waits = dag_of("replicate_and_verify").timetable.asset_condition
    assert [one.uri for one in waits.objects] == [VERIFIED.uri]
    waits = dag_of("ingest_received").timetable.asset_condition
    assert [one.uri for one in waits.objects] == [RECEIVED.uri]
    assert RECEIVED.uri.rstrip("/") == DEFAULT_ASSET


def test_a_form_offers_the_site_s_names(site: Path) -> None:
    (dag,) = _dags(INGEST)
    assert dag.params.get_param("source").schema["enum"] == ["metro", "drop"]
    assert dag.params.get_param("profile").schema["enum"] == [None, "strict"]
    dag.params.validate()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "elsewhere"),
        ("project", "brain"),
        ("profile", "none at all"),
        ("selection", "756203/1234"),
        ("date_from", "20240101"),
        ("modalities", ["ct scans"]),
        ("dry_run", "perhaps"),
    ],
)
def test_a_form_refuses_wrong_input_by_name(site: Path, field: str, value: object) -> None:
    (dag,) = _dags(INGEST)
    with pytest.raises(ParamValidationError, match=field):
        dag.params.update({field: value})
        dag.params.validate()


def test_a_wrong_site_file_is_an_import_error_that_names_it(site: Path) -> None:
    site.write_text("sources: 7\n")
    with pytest.raises(ConfigError, match=str(site)):
        _dags(INGEST)


def test_without_a_site_file_the_forms_still_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACSGRID_SITE", raising=False)
    assert "PACSGRID_SITE" not in os.environ
    (dag,) = _dags(INGEST)
    assert "enum" not in dag.params.get_param("source").schema


HEAVY = ("pynetdicom", "pydicom", "irods", "psycopg2", "cv2", "onnxruntime", "numpy", "requests")
PARSE = """
import runpy, sys
import airflow.sdk
already = set(sys.modules)
for path in sys.argv[1:]:
    runpy.run_path(path)
print(*{name.split(".")[0] for name in set(sys.modules) - already})
"""


def test_reading_the_dag_files_imports_nothing_heavy(site: Path) -> None:
    files = [str(path) for path in FILES]
    command = [sys.executable, "-c", PARSE, *files]
    env = {**os.environ, "PYTHONPATH": str(INGEST.parents[1] / "plugins")}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "pacsgrid" in done.stdout.split()
    assert not set(HEAVY) & set(done.stdout.split())


def test_a_site_adds_a_project_without_touching_a_dag_file(site: Path) -> None:
    more = {**SITE["projects"], "brain": {**SITE["projects"]["lung"], "nightly": ["metro"]}}
    site.write_text(yaml.safe_dump({**SITE, "projects": more}, sort_keys=False))
    (nightly,) = _dags(INGEST.with_name("nightly_sync.py"))
    assert nightly.get_task("synchronise_metro_brain").pool == "pacsgrid_source_metro"
    (maintain,) = _dags(INGEST.with_name("replicate_and_verify.py"))
    assert {t.task_id: t.pool for t in maintain.tasks} == dict.fromkeys(
        ("tend_lung", "tend_brain"), "pacsgrid_zone_brno"
    )
    (ingest,) = _dags(INGEST)
    assert ingest.params.get_param("project").schema["enum"] == ["lung", "brain"]


def test_the_former_name_of_an_operator_still_works(site: Path) -> None:
    with pytest.warns(DeprecationWarning, match="MaintainProjectOperator"):
        former = TendProjectOperator(task_id="tend", project="lung")
    assert isinstance(former, MaintainProjectOperator)
    assert (former.project, former.pool) == ("lung", "pacsgrid_zone_brno")


def test_a_run_s_tasks_wait_in_the_pools_of_its_source_and_zone(site: Path) -> None:
    run = {"source": "drop", "project": "lung"}
    assert pool_of(SOURCES, run) == "pacsgrid_source_drop"
    assert pool_of(ZONES, run) == "pacsgrid_zone_brno"
    assert pool_of("default_pool", run) == "default_pool"
    assert slots("pacsgrid_source_drop") == 1
