"""Metrics sent through Airflow's own, by StatsD or OpenTelemetry; docs/metrics.md lists them.

Names and tags are projects, zones, states, steps and reasons; never anything about a study.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pacsgrid.pipeline import ProjectContext

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")


def are_enabled() -> bool:
    """Return whether Airflow sends its metrics anywhere."""
    return any(
        conf.getboolean("metrics", name, fallback=False)
        for name in ("statsd_on", "statsd_datadog_enabled", "otel_on")
    )


def _name(*parts: str) -> str:
    return ".".join(["pacsgrid", *(_FORBIDDEN.sub("_", part) for part in parts)])


@contextmanager
def step(context: ProjectContext, name: str, refs: Sequence[str]) -> Iterator[None]:
    """Time one step over a batch, and count the studies that passed it.

    Parameters
    ----------
    context
        The project's context.
    name
        The step.
    refs
        References of the batch's studies.

    Yields
    ------
    None
        While the step runs.
    """
    from pacsgrid.pipeline import STEPS

    project, before, after = context.project.name, STEPS[name].before, STEPS[name].after
    states = context.ledger.studies.states(refs)
    waiting = [ref for ref in refs if states.get(ref) is before]
    start = monotonic()
    try:
        yield
    finally:
        tags = {"project": project, "step": name}
        took = timedelta(seconds=monotonic() - start)
        stats.timing(_name("step", project, name), took, tags=tags)
        states = context.ledger.studies.states(waiting)
        passed = [ref for ref in waiting if states.get(ref) is after]
        stats.incr(_name("passed", project, name), len(passed), tags=tags)
        if name == "deposit":
            _count_deposited(context, passed)


@contextmanager
def taking(context: ProjectContext) -> Iterator[Callable[[str, str, float, bool], None]]:
    """Time the steps of a batch, and count the studies that passed each.

    Parameters
    ----------
    context
        The project's context.

    Yields
    ------
    callable
        To call after each step of a study, see `pacsgrid.pipeline.take.take`.
    """
    took: dict[str, float] = {}
    passed: Counter[str] = Counter()
    deposited: list[str] = []

    def observe(name: str, ref: str, seconds: float, on: bool) -> None:
        took[name] = took.get(name, 0.0) + seconds
        passed[name] += on
        if on and name == "deposit":
            deposited.append(ref)

    try:
        yield observe
    finally:
        project = context.project.name
        for name in took:
            tags = {"project": project, "step": name}
            stats.timing(_name("step", project, name), timedelta(seconds=took[name]), tags=tags)
            stats.incr(_name("passed", project, name), passed[name], tags=tags)
        _count_deposited(context, deposited)


def _count_deposited(context: ProjectContext, refs: Sequence[str]) -> None:
    project = context.project.name
    instances, size = context.ledger.studies.volume(refs)
    tags = {"project": project}
    stats.incr(_name("deposited", project, "instances"), instances, tags=tags)
    stats.incr(_name("deposited", project, "bytes"), size, tags=tags)


def count_failure(dag: str) -> None:
    """Count a task of a DAG that failed and is not tried again."""
    stats.incr(_name("failed", dag), tags={"dag": dag})


def send_gauges(context: ProjectContext) -> None:
    """Send a project's gauges: states, held reasons, replicas by zone, unreachable zones."""
    from pacsgrid.ledger import Overview
    from pacsgrid.model import StudyState
    from pacsgrid.pipeline.report import project_report

    project, now = context.project.name, datetime.now(UTC)
    report = project_report(context, now)
    view = Overview(context.site.ledger_dsn, [project])
    counts = {count.state: count for count in view.states()}
    for state in StudyState:
        tags = {"project": project, "state": state.value}
        count = counts.get(state)
        stats.gauge(_name("studies", project, state), count.studies if count else 0, tags=tags)
        if state not in (
            StudyState.VERIFIED,
            StudyState.WITHDRAWN,
            StudyState.NOT_WANTED,
            StudyState.SUPERSEDED,
        ):
            waits = (now - count.oldest).total_seconds() if count else 0
            stats.gauge(_name("waiting", project, state), max(0, round(waits)), tags=tags)
    for reason, counted in view.held_reasons(ever=True).items():
        for what, number in (("studies", counted.studies), ("files", counted.files)):
            tags = {"project": project, "reason": reason, "what": what}
            stats.gauge(_name("held", project, reason, what), number, tags=tags)
    held = view.held_counts()
    for what, number in (("studies", held.studies), ("files", held.files)):
        tags = {"project": project, "what": what}
        stats.gauge(_name("held_total", project, what), number, tags=tags)
    instances = view.instances().get(project, 0)
    stats.gauge(_name("instances", project), instances, tags={"project": project})
    away = {one["zone"] for one in report.away}
    good = dict.fromkeys(report.zones, 0)
    for resource in view.replicas():
        if resource.zone in good:
            good[resource.zone] += resource.good
    for zone, health in report.zones.items():
        tags = {"project": project, "zone": zone}
        values = {
            "good": good[zone],
            "bad": health.bad,
            "lacking": health.lacking,
            "late": health.late,
            "overdue": health.overdue,
        }
        for what, value in values.items():
            stats.gauge(_name("replicas", project, zone, what), value, tags=tags)
        age = round((now - health.oldest).total_seconds()) if health.oldest else 0
        stats.gauge(_name("proof_age", project, zone), age, tags=tags)
        stats.gauge(_name("away", zone), int(zone in away), tags={"zone": zone})
