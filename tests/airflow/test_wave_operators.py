"""Both ends of `ingest_studies`, over a real ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    DagRunTriggerException,
    TaskDeferred,
)

from pacsgrid.airflow import tasks
from pacsgrid.airflow.operators import waves as operators
from pacsgrid.airflow.operators.waves import FindWaveOperator, NextWaveOperator
from pacsgrid.airflow.policy import extra_priority
from pacsgrid.airflow.sensors.night import NightOverSensor
from pacsgrid.airflow.triggers.zone import ZoneBackTrigger
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.ledger import IngestState, Ledger
from pacsgrid.pipeline import waves
from support.dicom import ct

RUN = {"source": "drop", "project": "lung"}


@pytest.fixture
def ledger(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger of a site with five studies in a folder, and a zone that nobody started."""
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    for number in range(5):
        ct(tmp_path / "drop" / f"{number}.dcm", f"1.2.{number}", f"1.2.{number}.1.1")
    zone = {"host": "127.0.0.1", "port": reserve_port(), "user": "rods"}
    lung = {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "key")}
    drop = {"kind": "folder", "folder": str(tmp_path / "drop")}
    site = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "key"),
        "batch_size": 1,
        "sources": {"drop": drop, "other": drop},
        "zones": {"brno": {**zone, "password_file": str(tmp_path / "key")}},
        "projects": {"lung": {**lung, "nightly": ["other"]}},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    # Which runs Airflow has is asked of its API server, which tests/e2e has.
    monkeypatch.setattr(operators, "is_over", lambda run: False)
    return Ledger(dsn, "tester")


def find(run: str, **params: Any) -> list[list[str]]:
    context: Any = {"params": {**RUN, **params}, "run_id": run}
    return FindWaveOperator(task_id="find").execute(context)


def following(run: str, batches: list[list[str]], **params: Any) -> DagRunTriggerException:
    context: Any = {"params": {**RUN, **params}, "run_id": run}
    with pytest.raises(DagRunTriggerException) as started:
        NextWaveOperator(task_id="next_wave", batches=batches).execute(context)
    return started.value


def test_a_wave_is_no_longer_than_airflow_maps_and_the_next_one_is_started(
    ledger: Ledger,
) -> None:
    batches = find("manual__1")
    assert [len(batch) for batch in batches] == [1, 1]
    assert find("manual__1") == batches
    ledger.studies.hold(batches[0][0], "test", "why")
    first = following("manual__1", batches, profile="basic")
    name = waves.ingest_id("manual__1")
    assert first.dag_run_id == waves.next_run_id(name, 2) and first.skip_when_already_exists
    assert first.conf == {**RUN, "ingest": name, "profile": "basic"}
    assert first.logical_date is None
    # The operator is killed after Airflow has made the run, and tried again.
    assert following("manual__1", batches).dag_run_id == first.dag_run_id


def test_no_wave_follows_the_last_one_nor_a_dry_run(ledger: Ledger) -> None:
    name = waves.ingest_id("manual__1")
    run = "manual__1"
    for number in (2, 3, 0):
        batches = find(run) if run == "manual__1" else _claim(ledger, name, run)
        for (ref,) in batches:
            ledger.studies.hold(ref, "test", "why")
        if number:
            run = following(run, batches).dag_run_id if run == "manual__1" else _next(run, batches)
    context: Any = {"params": {**RUN, "ingest": name}, "run_id": run}
    with pytest.raises(AirflowSkipException):
        NextWaveOperator(task_id="next_wave", batches=batches).execute(context)
    ended = ledger.ingests.get(name)
    assert ended is not None and ended.state is IngestState.ENDED and ended.held == 5
    assert find("manual__2", dry_run=True) == []
    dry: Any = {"params": {**RUN, "dry_run": True}, "run_id": "manual__2"}
    with pytest.raises(AirflowSkipException):
        NextWaveOperator(task_id="next_wave", batches=[]).execute(dry)
    assert ledger.ingests.get(waves.ingest_id("manual__2")) is None


def _claim(ledger: Ledger, name: str, run: str) -> list[list[str]]:
    """Resume a wave's first task as the triggerer does, once the zone answers."""
    context: Any = {"params": {**RUN, "ingest": name}, "run_id": run}
    return FindWaveOperator(task_id="find").resume(context, {"zones": ["brno"]})


def _next(run: str, batches: list[list[str]]) -> str:
    name = waves.ingest_id("manual__1")
    return str(following(run, batches, ingest=name).dag_run_id)


def test_a_further_wave_waits_for_the_home_zone(ledger: Ledger) -> None:
    batches = find("manual__1")
    name = waves.ingest_id("manual__1")
    with pytest.raises(TaskDeferred) as deferred:
        find("wave__2", ingest=name)
    assert isinstance(deferred.value.trigger, ZoneBackTrigger)
    assert deferred.value.method_name == "resume"
    assert ledger.ingests.wave("wave__2") is None
    context: Any = {"params": {**RUN, "ingest": name}, "run_id": "wave__2"}
    with pytest.raises(AirflowFailException, match="refused"):
        FindWaveOperator(task_id="find").resume(context, {"error": "refused"})
    (a, b), (c, d) = batches, _claim(ledger, name, "wave__2")
    assert len({*a, *b, *c, *d}) == 4


def test_a_run_that_is_gone_gives_back_what_it_had(ledger: Ledger) -> None:
    mine = find("manual__1")
    assert tasks.stalled_ingests(lambda run: False) == []
    ledger.database.run(
        "UPDATE pacsgrid.wave SET claimed_at = now() - interval '1 hour'; UPDATE pacsgrid.ingest"
        " SET changed_at = now() - interval '1 hour'"
    )
    assert tasks.stalled_ingests(lambda run: True) == []  # it may be starting the next
    ledger.database.run("UPDATE pacsgrid.wave SET ended_at = now() - interval '1 hour'")
    name = waves.ingest_id("manual__1")
    assert tasks.stalled_ingests(lambda run: True) == [{**RUN, "ingest": name}]
    assert {ref for batch in _claim(ledger, name, "wave__2") for ref in batch} != {
        ref for batch in mine for ref in batch
    }


def test_a_night_takes_up_what_other_sources_left_and_says_when_it_is_over(
    ledger: Ledger,
) -> None:
    find("manual__1")
    assert tasks.pending_elsewhere() == [{**RUN, "pending": True}]
    night = NightOverSensor(task_id="night", project="lung", source="drop", poke_interval=0.01)
    assert night.execute({}) == {"project": "lung"}
    batches = find("manual__2", pending=True)
    with pytest.raises(TaskDeferred):
        night.execute({})
    for batch in batches:
        ledger.studies.hold(batch[0], "test", "why")
    following_run = following("manual__2", batches, pending=True)
    assert following_run.conf == {**RUN, "ingest": waves.nightly_id("lung", "drop")}
    ledger.ingests.set_state(waves.nightly_id("lung", "drop"), IngestState.SPENT, "studies")
    assert night.execute({}) == {"project": "lung"}


def test_the_report_is_about_the_run_alone(ledger: Ledger) -> None:
    batches = find("manual__1")
    refs = [ref for batch in batches for ref in batch]
    ledger.studies.hold(refs[0], "truncated", "why")
    assert tasks.report(RUN, refs) == {"held": 1, "found": 1}


def test_a_steward_s_run_goes_before_nights_and_further_waves() -> None:
    assert extra_priority("ingest_studies", RUN) > 0
    assert extra_priority("ingest_studies", {**RUN, "pending": True}) == 0
    assert extra_priority("ingest_studies", {**RUN, "ingest": "in-1"}) == 0
    assert extra_priority("review_held", {}) == 0
