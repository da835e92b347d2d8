"""What the DAGs `release_cohort` and `withdraw_patient` call.

Each DAG counts first, a steward approves the counts, and only then it releases or withdraws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pacsgrid.airflow.tasks import project_context
from pacsgrid.errors import ConfigError, RetryableError

if TYPE_CHECKING:
    from pacsgrid.ledger import InstanceRecord
    from pacsgrid.pipeline import ProjectContext


def _members(context: ProjectContext, params: Mapping[str, Any]) -> dict[str, list[InstanceRecord]]:
    from pacsgrid.grid.search import Criterion
    from pacsgrid.pipeline.release import select_cohort

    criteria = [Criterion.parse(text) for text in params.get("criteria") or ()]
    listed = list(params.get("members") or ())
    return select_cohort(context, criteria, listed, listed)


def _digest(members: Mapping[str, list[InstanceRecord]]) -> str:
    lines = sorted(f"{row.sop_uid} {row.sha256}" for rows in members.values() for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count(params: Mapping[str, Any]) -> dict[str, str]:
    """Count the cohort that a run's parameters select.

    Parameters
    ----------
    params
        The run's parameters: ``project``, ``name``, ``criteria``, ``members``.

    Returns
    -------
    dict of str to str
        ``subject`` and ``body`` of the question for the steward, and the cohort's ``digest``.
    """
    with project_context(params, "release_cohort") as context:
        from pacsgrid.pipeline.release import summarise_cohort

        members = _members(context, params)
        if not members:
            raise ConfigError("no verified study is in this cohort; check criteria and members")
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
    """Release the cohort that was approved.

    Parameters
    ----------
    params
        The run's parameters, as for `count`, and the release's ``title``.
    approved
        The digest of the cohort that the steward approved.

    Returns
    -------
    str
        Path of the release's collection in the home zone.

    Raises
    ------
    AirflowFailException
        Studies were added or removed since the cohort was counted.
    """
    with project_context(params, "release_cohort") as context:
        from pacsgrid.pipeline.release import release_cohort

        members = _members(context, params)
        if _digest(members) != approved:
            raise ConfigError("the cohort has changed since it was counted; start another run")
        return release_cohort(context, params["name"], members, params.get("title") or "")


def _subjects(context: ProjectContext, params: Mapping[str, Any]) -> list[str]:
    """Return the pseudonyms that a run is for: the one it names, or those of its selection."""
    if subject := params.get("subject"):
        return [subject]
    name = params.get("selection")
    if not name:
        raise ConfigError("nobody is named; give the subject, or name the patient on the page")
    from pacsgrid.pipeline.pseudonym import subjects_of

    selections = context.ledger.selections
    query = selections.open(context.vault, params["project"], name)
    return subjects_of(context, query, selections.maker(name), f"withdrawal, {name}")


def count_patient(params: Mapping[str, Any]) -> dict[str, str]:
    """Count what a withdrawal would remove.

    Parameters
    ----------
    params
        The run's parameters: ``project``, and ``subject``, the patient's pseudonym, or
        ``selection``, the name of a sealed selection.

    Returns
    -------
    dict of str to str
        ``subject`` and ``body`` of the question for the steward, and the ``subjects``, separated
        by blanks.
    """
    with project_context(params, "withdraw_patient") as context:
        project, subjects = params["project"], _subjects(context, params)
        objects = 0
        for subject in subjects:
            found = len(context.ledger.instances.sop_uids_of_subject(project, subject))
            if not found and not context.ledger.withdrawals.is_withdrawn(project, subject):
                raise ConfigError(f"project {project} has no subject {subject}; give the pseudonym")
            objects += found
        members = context.ledger.instances.verified(project, [], subjects)
        zones = ", ".join((context.project.home_zone, *context.project.partner_zones))
        return {
            "subjects": " ".join(subjects),
            "subject": f"Withdraw {', '.join(subjects)} from project {project}",
            "body": f"{len(members)} verified studies, {objects} instances, in the zones {zones}."
            "\n\nThey are erased from every zone, replica and trash, and releases that list them "
            "get a new version without them. **This cannot be undone.**",
        }


def withdraw(params: Mapping[str, Any], subjects: str) -> None:
    """Withdraw the patient, or the patients of a selection.

    Parameters
    ----------
    params
        The run's parameters, as for `count_patient`.
    subjects
        The pseudonyms that were counted and approved, separated by blanks.

    Raises
    ------
    AirflowException
        A zone still has objects of the patient; the task is tried again until none has.
    """
    with project_context(params, "withdraw_patient") as context:
        from pacsgrid.pipeline.withdraw import withdraw

        if left := sorted({zone for one in subjects.split() for zone in withdraw(context, one)}):
            raise RetryableError(f"still to be erased in: {', '.join(left)}; tried again later")
