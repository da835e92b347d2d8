"""What the DAGs `release_cohort` and `withdraw_patient` call: counts to approve, then the deed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pacsgrid.airflow.tasks import project_context
from pacsgrid.errors import ConfigError, RetryableError

if TYPE_CHECKING:
    from pacsgrid.ledger import InstanceRow
    from pacsgrid.pipeline import ProjectContext


def _members(opened: ProjectContext, params: Mapping[str, Any]) -> dict[str, list[InstanceRow]]:
    from pacsgrid.grid.search import Criterion
    from pacsgrid.pipeline.release import select_cohort

    criteria = [Criterion.parse(text) for text in params.get("criteria") or ()]
    listed = list(params.get("members") or ())
    return select_cohort(opened, criteria, listed, listed)


def _digest(members: Mapping[str, list[InstanceRow]]) -> str:
    lines = sorted(f"{row.sop_uid} {row.sha256}" for rows in members.values() for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count(params: Mapping[str, Any]) -> dict[str, str]:
    """Count the cohort; returns the question for the steward and the cohort's digest."""
    with project_context(params, "release_cohort") as opened:
        from pacsgrid.pipeline.release import summarise_cohort

        members = _members(opened, params)
        if not members:
            raise ConfigError("no verified study is in this cohort; look at criteria and members")
        seen = summarise_cohort(members)
        kinds = "".join(f"\n- {name}: {n} instances" for name, n in seen.modalities.items())
        return {
            "subject": f"Release {params['name']} of project {params['project']}",
            "body": f"{seen.subjects} subjects, {seen.studies} studies, {seen.instances} "
            f"instances, {seen.bytes / 2**20:.1f} MiB.\n{kinds}\n\nOnce released, this list is "
            "never changed.",
            "digest": _digest(members),
        }


def freeze(params: Mapping[str, Any], approved: str) -> str:
    """Release what was approved; returns its collection in the home zone.

    Raises
    ------
    AirflowFailException
        The cohort is not the one that was approved: studies came or went meanwhile.
    """
    with project_context(params, "release_cohort") as opened:
        from pacsgrid.pipeline.release import release_cohort

        members = _members(opened, params)
        if _digest(members) != approved:
            raise ConfigError("the cohort has changed since it was counted; start another run")
        return release_cohort(opened, params["name"], members, params.get("title") or "")


def count_patient(params: Mapping[str, Any]) -> dict[str, str]:
    """Count what a withdrawal would remove; returns the question for the steward."""
    with project_context(params, "withdraw_patient") as opened:
        subject, project = params["subject"], params["project"]
        members = opened.ledger.instances.verified(project, [], [subject])
        objects = len(opened.ledger.instances.sop_uids_of_subject(project, subject))
        if not objects and not opened.ledger.withdrawals.is_withdrawn(project, subject):
            raise ConfigError(f"project {project} has no subject {subject}; give the pseudonym")
        zones = ", ".join((opened.project.home_zone, *opened.project.partner_zones))
        return {
            "subject": f"Withdraw {subject} from project {project}",
            "body": f"{len(members)} verified studies, {objects} instances, in the zones {zones}."
            "\n\nThey are erased from every zone, replica and trash, and releases that list them "
            "get a new version without them. **This cannot be undone.**",
        }


def withdraw(params: Mapping[str, Any]) -> None:
    """Withdraw the patient; tried again until every zone is proven clean."""
    with project_context(params, "withdraw_patient") as opened:
        from pacsgrid.pipeline.withdraw import withdraw

        if left := withdraw(opened, params["subject"]):
            raise RetryableError(f"still to be erased in: {', '.join(left)}; tried again later")
