"""What the DAGs that keep a site healthy call."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from pacsgrid.airflow import metrics
from pacsgrid.airflow.tasks import log, project_context, translated


def site_check() -> dict[str, str]:
    """Check the whole site; returns each check's finding.

    Raises
    ------
    AirflowFailException
        Naming every check that found something, with what to do.
    """
    with translated():
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.site_check import check_site

        checks = check_site(load_site())
    for check in checks:
        (log.info if check.good else log.error)("%s: %s", check.name, check.detail)
    if bad := [f"{check.name}: {check.detail}" for check in checks if not check.good]:
        raise AirflowFailException("; ".join(bad))
    return {check.name: check.detail for check in checks}


def tell() -> int:
    """Send every project's gauges to Airflow's metrics; returns how many projects there are."""
    with translated():
        from pacsgrid.config import load_site

        projects = list(load_site().projects)
    for project in projects:
        with project_context({"project": project}, "site_metrics") as opened:
            metrics.tell(opened)
    return len(projects)


def tend(project: str) -> dict[str, Any]:
    """Give a project every replica and proof that its policy asks for.

    Raises
    ------
    AirflowFailException
        An instance has no good replica anywhere; the message names the studies.
    """
    with project_context({"project": project}, "replicate_and_verify") as opened:
        from pacsgrid.errors import RetryableError
        from pacsgrid.pipeline.maintain import maintain

        night = maintain(opened)
        if night.failures:
            log.warning("%d things to try again: %s", len(night.failures), night.failures[0])
        if night.lost:
            refs = ", ".join(sorted({ref for ref, _ in night.lost}))
            raise AirflowFailException(
                f"{project}: {len(night.lost)} instances have no good replica in any zone: {refs}"
            )
        if night.failures:
            raise RetryableError(f"{project}: {night.failures[0]}")
    done = asdict(night)
    return {
        name: done[name]
        for name in ("studies", "finished", "repaired", "restored", "copied", "postponed")
    }


def audit(project: str) -> dict[str, str]:
    """Tell whether a project has what its policy asks for; returns a line per zone.

    Raises
    ------
    AirflowFailException
        Naming each zone that lacks something, and what.
    """
    with project_context({"project": project}, "audit_replicas") as opened:
        from pacsgrid.pipeline.report import project_report

        report = project_report(opened)
        told = {
            name: f"{zone.instances} instances, {zone.lacking} lack replicas ({zone.late} too "
            f"long), {zone.bad} replicas are bad, {zone.overdue} studies have old proofs"
            for name, zone in report.zones.items()
        }
        for name, text in told.items():
            log.info("%s in %s: %s", project, name, text)
        wrong = [n for n, z in report.zones.items() if z.late or z.bad or z.overdue]
        if wrong:
            raise AirflowFailException("; ".join(f"{project} in {n}: {told[n]}" for n in wrong))
        return told


def sweep(project: str, rejected: int, selections: int) -> dict[str, int]:
    """Clean up after a project, keeping some things for days; returns how much was removed."""
    with project_context({"project": project}, "housekeeping") as opened:
        from pacsgrid.pipeline.housekeeping import clean_up

        return asdict(clean_up(opened, timedelta(days=rejected), timedelta(days=selections)))
