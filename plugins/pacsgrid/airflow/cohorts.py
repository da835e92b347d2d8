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
    from pacsgrid.pipeline.cohorts import Cohort


def _members(context: ProjectContext, params: Mapping[str, Any]) -> dict[str, list[InstanceRecord]]:
    from pacsgrid.pipeline.cohorts import select_cohort

    return select_cohort(context, _cohort(context, params))


def _cohort(context: ProjectContext, params: Mapping[str, Any]) -> Cohort:
    from pacsgrid.pipeline.cohorts import Cohort, with_saved

    cohort = Cohort(
        criteria=tuple(params.get("criteria") or ()),
        members=tuple(params.get("members") or ()),
        excluded=frozenset(params.get("excluded") or ()),
        matching=bool(params.get("matching_series")),
        small_cells=params.get("small_cells") or "refuse",
    )
    return with_saved(context, cohort, params.get("saved") or "")


def _small_cells(context: ProjectContext, params: Mapping[str, Any]) -> str:
    """Say what is below the project's release gate, and what was chosen for it; empty if none."""
    from pacsgrid.pipeline.cohorts import chosen_series, describe_cells, small_cells_of

    if context.project.release_gate.smallest_cell <= 1:
        return ""
    cohort = _cohort(context, params)
    small = small_cells_of(context, chosen_series(context, cohort))
    if not small:
        return ""
    done = "They are dropped" if cohort.small_cells == "drop" else "**They are released**"
    return f"\n\n{done}: {describe_cells(context, small)}"


def _digest(members: Mapping[str, list[InstanceRecord]]) -> str:
    lines = sorted(f"{row.sop_uid} {row.sha256}" for rows in members.values() for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count(params: Mapping[str, Any]) -> dict[str, str]:
    """Count the cohort that a run's parameters select.

    Parameters
    ----------
    params
        The run's parameters: ``project``, ``name``, and what chooses the cohort: ``criteria``,
        ``saved``, ``members``, ``excluded``, ``matching_series``, ``small_cells``.

    Returns
    -------
    dict of str to str
        ``subject`` and ``body`` of the question for the steward, and the cohort's ``digest``.
    """
    with project_context(params, "release_cohort") as context:
        from pacsgrid.pipeline.cohorts import summarise_cohort

        members = _members(context, params)
        left = context.consent.left_out
        if not members:
            raise ConfigError(
                "no verified study is in this cohort; check criteria and members"
                + (f", and the consent of {left} subjects" if left else "")
            )
        seen = summarise_cohort(members)
        small = _small_cells(context, params)
        kinds = "".join(f"\n- {name}: {n} instances" for name, n in seen.modalities.items())
        return {
            "subject": f"Release {params['name']} of project {params['project']}",
            "body": f"{seen.subjects} subjects, {seen.studies} studies, {seen.instances} "
            f"instances, {seen.bytes / 2**20:.1f} MiB.\n{kinds}{small}\n\n"
            + (f"{left} subjects are left out for want of consent. " if left else "")
            + "Once released, this list is never changed.",
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
                # Not quoted: somebody may have written a patient ID.
                raise ConfigError(f"project {project} has no such subject; give the pseudonym")
            objects += found
        members = context.ledger.instances.refs_of(project, [], subjects)
        zones = ", ".join((context.project.home_zone, *context.project.partner_zones))
        known = context.ledger.consents.of_subjects(project, subjects)
        ended = any(one.answer == "no" for one in known.values())
        why = "The project's source of consent says that it has ended.\n\n" if ended else ""
        return {
            "subjects": " ".join(subjects),
            "subject": f"Withdraw {', '.join(subjects)} from project {project}",
            "body": f"{why}{len(members)} verified studies, {objects} instances, in the zones "
            f"{zones}.\n\nThey are erased from every zone, replica and trash, and releases that "
            "list them get a new version without them. **This cannot be undone.**",
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
