"""The state of a project's replicas, for its steward."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.find import FINISHED


@dataclass
class ZoneReport:
    """A project in one zone.

    ``lacking`` instances have fewer proven replicas than asked for, ``late`` of them are past
    the policy's time; ``overdue`` studies were not recomputed within its interval.
    """

    copies: int
    studies: int = 0
    instances: int = 0
    lacking: int = 0
    late: int = 0
    bad: int = 0
    overdue: int = 0
    oldest: datetime | None = None


@dataclass
class ProjectReport:
    """A project's zones, resources where replicas went bad again, and zones that are away.

    ``underway`` counts the studies that are not verified yet, held or withdrawn, by state.
    """

    project: str
    at: datetime
    zones: dict[str, ZoneReport] = field(default_factory=dict)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    away: list[dict[str, Any]] = field(default_factory=list)
    underway: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the policy is met everywhere, and no study is on its way."""
        unmet = any(z.lacking or z.bad or z.overdue for z in self.zones.values())
        return not unmet and not self.underway

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "settled": self.settled}


def project_report(context: ProjectContext, now: datetime | None = None) -> ProjectReport:
    """Compute the report from the ledger; no zone is asked."""
    now = now or datetime.now(UTC)
    policy = context.project.replication
    report = ProjectReport(context.project.name, now)
    report.zones = {zone: ZoneReport(copies) for zone, copies in policy.copies.items()}
    for duty in context.ledger.tasks.all(context.project.name, policy):
        zone = report.zones[duty.zone]
        zone.studies += 1
        zone.instances += duty.instances
        zone.lacking += duty.lacking
        zone.bad += duty.bad
        if now - duty.since > timedelta(hours=policy.within_hours):
            zone.late += duty.lacking
        if duty.oldest is not None:
            zone.overdue += now - duty.oldest > timedelta(days=max(1, policy.reverify_days))
            zone.oldest = min(zone.oldest or duty.oldest, duty.oldest)
    report.suspects = [
        {"zone": zone, "resource": resource, "objects": count}
        for zone, resource, count in context.ledger.proofs.suspect_resources(list(policy.copies))
    ]
    report.away = [
        {"zone": one.zone, "since": one.since, "next_try": one.next_try}
        for one in context.ledger.absences.all()
        if one.zone in policy.copies
    ]
    report.underway = {
        state: count
        for state, count in context.ledger.studies.count_by_state(context.project.name).items()
        if StudyState(state) not in FINISHED
    }
    return report
