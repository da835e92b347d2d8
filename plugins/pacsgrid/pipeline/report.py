"""Report the state of a project's replicas to its steward."""

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

    Attributes
    ----------
    copies
        How many replicas of each instance the policy asks for.
    studies, instances
        How many the zone is to hold.
    lacking
        Instances with fewer proven replicas than that.
    late
        Those of them that are past the policy's time.
    bad
        Replicas that do not hold the anonymiser's bytes.
    overdue
        Studies that were not verified within the policy's interval.
    oldest
        When the study was verified whose verification is longest ago; None for none.
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
    """A project in all of its zones.

    Attributes
    ----------
    project, at
        The project, and the time of the report.
    zones
        Its state in each zone.
    suspects
        Resources where replicas went bad again and again.
    away
        Zones that do not answer.
    underway
        How many studies are not finished (verified, held, withdrawn or not wanted), by state.
    not_wanted
        How many series and instances were left at their sources because no rule wants them.
    content_warnings
        How many warnings content checks have written, by code.
    """

    project: str
    at: datetime
    zones: dict[str, ZoneReport] = field(default_factory=dict)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    away: list[dict[str, Any]] = field(default_factory=list)
    underway: dict[str, int] = field(default_factory=dict)
    not_wanted: dict[str, int] = field(default_factory=dict)
    content_warnings: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the policy is met in every zone, and every study is finished."""
        unmet = any(z.lacking or z.bad or z.overdue for z in self.zones.values())
        return not unmet and not self.underway

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "settled": self.settled}


def project_report(context: ProjectContext, now: datetime | None = None) -> ProjectReport:
    """Compute the report from the ledger; no zone is asked.

    Parameters
    ----------
    context
        The project.
    now
        The time from which ages are counted.

    Returns
    -------
    ProjectReport
        The project's state in each of its zones.

    Raises
    ------
    RetryableError
        The ledger does not answer.
    """
    now = now or datetime.now(UTC)
    policy = context.project.replication
    report = ProjectReport(context.project.name, now)
    report.zones = {zone: ZoneReport(copies) for zone, copies in policy.copies.items()}
    overdue = now - timedelta(days=max(1, policy.reverify_days))
    for name, duties in context.ledger.tasks.zones(report.project, policy, overdue).items():
        zone = report.zones[name]
        zone.studies, zone.instances = duties.studies, duties.instances
        zone.overdue, zone.oldest = duties.overdue, duties.oldest
    for task in context.ledger.tasks.damaged(report.project, policy):
        zone = report.zones[task.zone]
        zone.lacking += task.lacking
        zone.bad += task.bad
        if now - task.since > timedelta(hours=policy.within_hours):
            zone.late += task.lacking
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
    series, instances = context.ledger.series.count(context.project.name)
    report.not_wanted = {"series": series, "instances": instances}
    report.content_warnings = context.ledger.series.count_warnings(context.project.name)
    return report
