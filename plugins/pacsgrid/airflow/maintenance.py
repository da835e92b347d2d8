"""What the DAGs that maintain a site call."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from pacsgrid.airflow import metrics
from pacsgrid.airflow.tasks import log, project_context, translated
from pacsgrid.errors import RetryableError


def site_check() -> dict[str, str]:
    """Check the whole site, and return what each check found.

    Raises
    ------
    AirflowFailException
        A check failed. The message names every failed check, and says what to do.
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


def send_metrics() -> int:
    """Send every project's gauges to Airflow's metrics, and return the number of projects."""
    with translated():
        from pacsgrid.config import load_site

        projects = list(load_site().projects)
    for project in projects:
        with project_context({"project": project}, "site_metrics") as context:
            metrics.send_gauges(context)
    return len(projects)


def check_logins() -> dict[str, int]:
    """Ask the provider about every login, and let the readers in iRODS follow.

    Returns
    -------
    dict of str to int
        How many logins go on, ended, and had no answer, and how many readers changed.

    Raises
    ------
    AirflowException
        The provider or a zone does not answer; the next run tries again.
    """
    with translated():
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.logins import Logins

        report = Logins(load_site()).check()
        if report.failures:
            raise RetryableError("; ".join(report.failures))
    done = asdict(report)
    return {name: done[name] for name in ("confirmed", "ended", "unanswered", "readers")}


def maintain(project: str) -> dict[str, Any]:
    """Make, verify and repair the replicas that a project's replication policy asks for.

    Returns
    -------
    dict of str to Any
        How many studies were examined and finished, and how many replicas were repaired, restored
        from another zone, copied, and left for later.

    Raises
    ------
    AirflowFailException
        An instance has no good replica in any zone. The message names the studies.
    AirflowException
        Something failed that may succeed when it is tried again.
    """
    with project_context({"project": project}, "replicate_and_verify") as context:
        from pacsgrid.pipeline.maintain import maintain

        outcome = maintain(context)
        if outcome.failures:
            log.warning(
                "%d operations must be tried again: %s", len(outcome.failures), outcome.failures[0]
            )
        if outcome.lost:
            refs = ", ".join(sorted({ref for ref, _ in outcome.lost}))
            raise AirflowFailException(
                f"{project}: {len(outcome.lost)} instances have no good replica in any zone: {refs}"
                "; ingest these studies again from their source"
            )
        if outcome.failures:
            raise RetryableError(f"{project}: {outcome.failures[0]}")
    done = asdict(outcome)
    return {
        name: done[name]
        for name in (
            "studies",
            "finished",
            "repaired",
            "restored",
            "copied",
            "postponed",
            "indexed",
        )
    }


def audit(project: str) -> dict[str, str]:
    """Compare a project's replicas with its replication policy, from the ledger alone.

    Returns
    -------
    dict of str to str
        A summary for each zone.

    Raises
    ------
    AirflowFailException
        The policy is not met. The message names each zone that lacks something, and what.
    """
    with project_context({"project": project}, "audit_replicas") as context:
        from pacsgrid.pipeline.report import project_report

        report = project_report(context)
        summaries = {
            name: f"{zone.instances} instances, {zone.lacking} lack replicas ({zone.late} for too "
            f"long), {zone.bad} replicas are bad, {zone.overdue} studies have old proofs"
            for name, zone in report.zones.items()
        }
        for name, summary in summaries.items():
            log.info("%s in %s: %s", project, name, summary)
        wrong = [n for n, z in report.zones.items() if z.late or z.bad or z.overdue]
        if wrong:
            raise AirflowFailException(
                "; ".join(f"{project} in {n}: {summaries[n]}" for n in wrong)
            )
        return summaries


def ask_for_consent(project: str) -> list[dict[str, Any]]:
    """Ask for the consent of a project's patients, as each night does.

    Returns
    -------
    list of dict
        The run id and the conf of a run of `withdraw_patient` for each consent that has ended; they
        name pseudonyms alone.

    Raises
    ------
    AirflowException
        The source of consent does not answer; the task is tried again.
    """
    with project_context({"project": project}, "check_consent") as context:
        from pacsgrid.pipeline.consent import withdrawal_runs

        return withdrawal_runs(project, context.consent.ask_again(), datetime.now(UTC))


def sweep(project: str, rejected_days: int, selections_days: int) -> dict[str, int]:
    """Remove a project's files that are no longer needed, and return how many of each kind.

    Parameters
    ----------
    project
        A project of the site file.
    rejected_days
        How many days the quarantine keeps the files of rejected studies.
    selections_days
        How many days sealed selections are kept.

    Returns
    -------
    dict
        Numbers of removed folders, quarantines, selections and received files, by kind.
    """
    with project_context({"project": project}, "housekeeping") as context:
        from pacsgrid.pipeline.audit_sender import send_audit
        from pacsgrid.pipeline.housekeeping import clean_up

        try:
            send_audit(context.site)  # what the gateway recorded before it stopped
        except RetryableError as error:
            log.warning("%s", error)
        return asdict(
            clean_up(context, timedelta(days=rejected_days), timedelta(days=selections_days))
        )
