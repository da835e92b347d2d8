"""Sensors and their triggers against a real ledger and a real zone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseSensorOperator
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.triggers.base import BaseTrigger

from irods_zone import ZoneServer
from pacsgrid.airflow.get_provider_info import get_provider_info
from pacsgrid.airflow.sensors.held import HeldQueueSensor
from pacsgrid.airflow.sensors.studies import StudiesCompleteSensor
from pacsgrid.airflow.sensors.zone import ZoneBackSensor
from pacsgrid.airflow.triggers.base import PollingTrigger
from pacsgrid.airflow.triggers.held import HeldQueueTrigger
from pacsgrid.airflow.triggers.studies import StudiesCompleteTrigger
from pacsgrid.airflow.triggers.zone import ZoneBackTrigger
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.ledger import Ledger

SECRET = "Kanarek7f3a"
SOON = 0.01


@pytest.fixture
def site(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site with a zone that nobody started; its project's key cannot be read."""
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "password").write_text(SECRET)
    zone = {"host": "127.0.0.1", "port": reserve_port(), "user": "rods"}
    site = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "key"),
        "sources": {name: {"kind": "folder", "folder": str(tmp_path)} for name in ("ct", "mr")},
        "zones": {"brno": {**zone, "password_file": str(tmp_path / "password")}},
        "projects": {"lung": {"profile": "basic", "home_zone": "brno", "key_file": "/no/key"}},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))
    return site


@pytest.fixture
def ledger(site: dict[str, Any], dsn: str) -> Ledger:
    ledger = Ledger(dsn, "tester")
    ledger.studies.add_found("st-1", "lung", "ct", "hash", b"sealed")
    return ledger


def _again(trigger: BaseTrigger) -> PollingTrigger:
    """Make a trigger anew from what Airflow keeps of it, as the triggerer does."""
    path, kwargs = trigger.serialize()
    made = import_string(path)(**kwargs)
    assert isinstance(made, PollingTrigger) and made.serialize() == (path, kwargs)
    return made


def _fires(trigger: BaseTrigger, meanwhile: Callable[[], None]) -> Any:
    """Run a trigger until it fires; `meanwhile` is done after it has polled in vain."""
    made = _again(trigger)
    polled = 0
    poll = made.poll

    def counted() -> dict[str, Any] | None:
        nonlocal polled
        found = poll()
        polled += 1
        return found

    made.poll = counted  # type: ignore[method-assign]

    async def run() -> Any:
        events: AsyncIterator[Any] = made.run()
        waits = asyncio.ensure_future(anext(events))
        while not polled and not waits.done():
            await asyncio.sleep(SOON)
        assert not waits.done(), "fired before it was time"
        await asyncio.to_thread(meanwhile)
        return (await asyncio.wait_for(waits, 60)).payload

    return asyncio.run(run())


def _first(trigger: PollingTrigger) -> Any:
    async def run() -> Any:
        return (await anext(trigger.run())).payload

    return asyncio.run(run())


def _deferred(sensor: BaseSensorOperator) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    return deferred.value


def test_the_provider_lists_every_module(site: dict[str, Any]) -> None:
    root = Path(__file__).parents[2] / "plugins/pacsgrid/airflow"
    for kind in ("operators", "sensors", "triggers", "hooks"):
        (group,) = get_provider_info()[kind]
        apart = ("__init__", "base", *(("source",) if kind == "hooks" else ()))
        files = {path.stem for path in (root / kind).glob("*.py") if path.stem not in apart}
        assert set(group["python-modules"]) == {f"pacsgrid.airflow.{kind}.{f}" for f in files}
    info = ProvidersManager().providers["pacsgrid"].data
    assert info["triggers"] == get_provider_info()["triggers"]


def test_studies_are_waited_for_by_source(ledger: Ledger) -> None:
    ledger.studies.add_found("st-2", "lung", "mr", "hash", b"sealed")
    ledger.studies.hold("st-2", "identity-left", "a name is left")
    mr = StudiesCompleteSensor(task_id="mr", project="lung", source="mr")
    assert mr.execute({}) == {"project": "lung"}
    every = StudiesCompleteSensor(task_id="all", project="lung", poke_interval=SOON, timeout=60)
    deferred = _deferred(every)
    assert isinstance(deferred.trigger, StudiesCompleteTrigger)
    assert deferred.timeout is not None and deferred.timeout.total_seconds() == 60
    event = _fires(deferred.trigger, lambda: ledger.studies.hold("st-1", "truncated", "cut off"))
    assert every.execute_complete({}, event) == {"project": "lung"}


def test_a_zone_that_comes_back_is_noted_as_back(
    site: dict[str, Any], dsn: str, tmp_path: Path
) -> None:
    sensor = ZoneBackSensor(task_id="back", zones=["brno"], poke_interval=SOON)
    deferred = _deferred(sensor)
    assert isinstance(deferred.trigger, ZoneBackTrigger)
    assert SECRET not in str(deferred.trigger.serialize())
    absences = Ledger(dsn).absences
    absences.mark_absent("brno", datetime.now(UTC))
    zone = site["zones"]["brno"]
    where = {"zone": "brno", "directory": tmp_path / "zone", "admin": "rods"}
    server = ZoneServer(port=zone["port"], password=SECRET, **where)
    try:
        event = _fires(deferred.trigger, lambda: server.__enter__() and None)
        assert absences.all() == []
    finally:
        server.__exit__(None, None, None)
    assert sensor.execute_complete({}, event) == {"zones": ["brno"]}


def test_what_nobody_foresaw_is_tried_again_and_not_quoted(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poll(trigger: PollingTrigger) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(ZoneBackTrigger, "poll", poll)
    event = _first(ZoneBackTrigger(["brno"], SOON))
    with pytest.raises(AirflowException, match="unexpected KeyError") as raised:
        ZoneBackSensor(task_id="back", zones=["brno"]).execute_complete({}, event)
    assert not isinstance(raised.value, AirflowFailException)
    assert SECRET not in str(raised.value)


def test_what_waiting_cannot_mend_fails_the_task_with_what_is_wrong(site: dict[str, Any]) -> None:
    event = _first(ZoneBackTrigger(["elsewhere"], SOON))
    with pytest.raises(AirflowFailException, match="no zone named 'elsewhere'"):
        ZoneBackSensor(task_id="back", zones=["elsewhere"]).execute_complete({}, event)
    with pytest.raises(AirflowFailException, match="no project named 'brain'"):
        HeldQueueSensor(task_id="queue", project="brain").execute({})


def test_a_ledger_that_is_away_is_waited_out(
    ledger: Ledger, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", f"host=127.0.0.1 port={reserve_port()} dbname=x")
    _deferred(HeldQueueSensor(task_id="queue", project="lung"))
    trigger = HeldQueueTrigger("lung", poke_interval=SOON)
    poll, polled = trigger.poll, []

    def back_after_the_first() -> dict[str, Any] | None:
        polled.append(1)
        if len(polled) > 1:
            monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
        return poll()

    trigger.poll = back_after_the_first  # type: ignore[method-assign]
    ledger.studies.hold("st-1", "truncated", "cut off")

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    assert asyncio.run(first()) == {"studies": 1} and len(polled) == 2


def test_the_held_queue_is_waited_for_by_reason(ledger: Ledger) -> None:
    def sensor(**more: Any) -> HeldQueueSensor:
        given = {"project": "lung", "only": "truncated", "poke_interval": SOON, **more}
        return HeldQueueSensor(task_id="queue", **given)

    deferred = _deferred(sensor(wait_hours="2"))
    assert isinstance(deferred.trigger, HeldQueueTrigger)
    assert deferred.timeout is not None and deferred.timeout.total_seconds() == 7200
    with pytest.raises(AirflowSkipException):
        sensor(wait_hours="0", soft_fail=True).execute({})
    with pytest.raises(AirflowSensorTimeout):
        sensor(wait_hours="0").execute({})
    ledger.held.add("st-1", "not-dicom", "no DICOM", "ab" * 32)
    event = _fires(deferred.trigger, lambda: ledger.studies.hold("st-1", "truncated", "cut off"))
    assert event == {"studies": 1}
    assert sensor(only="", at_least=1, deferrable=False).execute({}) == {"studies": 1}
    ledger.held.remove("st-1")
    ledger.studies.hold("st-1", "rejected", "by a steward")
    _deferred(sensor(only=""))
