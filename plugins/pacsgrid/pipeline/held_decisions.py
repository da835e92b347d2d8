"""Decisions about held files: check what a steward asks for, and carry it out.

A decision is entered by the page in one transaction, however many files it is about. The DAG
`review_held` then carries it out study by study: each goes through anonymiser and checker again,
and nothing leaves that the checker refuses.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pacsgrid.config import ProjectSettings
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.ledger.reviews import Decision, Selected
from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import is_received, remove_received, remove_rejected
from pacsgrid.pipeline.steps import STEPS, clear_work_folders, run_step
from pacsgrid.review_model import APPROVABLE, BLANKABLE, BlankRegion, ImageTraits

log = logging.getLogger(__name__)

# Larger than any image; what lies outside of an image is cut off.
_LARGEST = 1 << 16
_MOST_REGIONS = 200
WORDS = {"approve": "Approve", "blank": "Blank", "reject": "Reject", "again": "Try again"}
"""The verdicts as the audit trail and the page write them."""


def enter_decision(
    ledger: Ledger, project: ProjectSettings, decision: Decision, selected: Selected
) -> tuple[int, int]:
    """Check and enter a steward's decision; it is carried out by `carry_out_decisions`.

    Parameters
    ----------
    ledger
        The ledger.
    project
        The project's settings: whether a second steward must agree, and its profiles.
    decision
        What was decided.
    selected
        What it is about.

    Returns
    -------
    tuple of int and int
        The decision's number, and how many files and studies it is about.

    Raises
    ------
    ConfigError
        The verdict does not suit the reason, something is missing, or nothing of it waits.
    """
    _check(decision, selected, project)
    seconded = project.four_eyes and (decision.always or decision.verdict in ("approve", "blank"))
    return ledger.reviews.decide(replace(decision, needs_second=seconded), selected)


def _check(one: Decision, selected: Selected, project: ProjectSettings) -> None:
    if not one.who.strip() or not one.reason.strip():
        raise ConfigError("a decision needs a reason: what you saw, naming no one")
    if len(one.reason) > 500:
        raise ConfigError("the reason is longer than 500 characters; shorten it")
    if not one.codes:
        raise ConfigError("choose at least one file or group that is held")
    if one.verdict == "approve" and (wrong := one.codes - APPROVABLE):
        raise ConfigError(
            f"{', '.join(sorted(wrong))} cannot be approved: what the checker refuses, and what "
            "cannot be read or seen here, must change first; blank it, try another profile, or "
            "reject it"
        )
    if one.verdict == "blank" and (wrong := one.codes - BLANKABLE):
        raise ConfigError(
            f"{', '.join(sorted(wrong))} is not removed by blanking; try another profile, or "
            "reject it"
        )
    if (one.verdict == "blank") != bool(one.regions):
        raise ConfigError("draw at least one rectangle to blank, and none for another verdict")
    if one.profile and one.profile not in (project.profile, *project.profiles):
        raise ConfigError(f"project {project.name} does not allow profile {one.profile!r}")
    if one.always:
        _check_rule(one)
    _check_regions(one.regions)


def _check_rule(one: Decision) -> None:
    traits = one.traits
    if one.verdict == "again":
        raise ConfigError("trying again is no rule; approve, blank or reject")
    if one.verdict == "reject" and (wrong := one.codes - APPROVABLE - {"document"}):
        raise ConfigError(
            f"no rule rejects files for {', '.join(sorted(wrong))}: that is a fault of one file, "
            "or found by the checker; reject them without a rule"
        )
    if not (traits.sop_class and traits.modality and (traits.manufacturer or traits.model)):
        raise ConfigError(
            "a rule needs a device and a kind of image; these files lack Manufacturer (0008,0070) "
            "and ManufacturerModelName (0008,1090), or Modality (0008,0060): decide them one by one"
        )
    if one.verdict == "blank" and not (traits.rows and traits.columns):
        raise ConfigError("a rule that blanks regions needs the size of the images")
    if one.verdict == "blank" and any(region.frame is not None for region in one.regions):
        raise ConfigError("a rule blanks every frame; draw its rectangles for all frames")


def _check_regions(regions: Sequence[BlankRegion]) -> None:
    if len(regions) > _MOST_REGIONS:
        raise ConfigError(f"more than {_MOST_REGIONS} rectangles; blank a larger area instead")
    for one in regions:
        right = 0 <= one.left < one.right <= _LARGEST and 0 <= one.top < one.bottom <= _LARGEST
        if not right or (one.frame is not None and one.frame < 0):
            raise ConfigError("a rectangle lies outside the image or is empty; draw it again")


def traits_for_rule(traits: ImageTraits, any_description: bool) -> ImageTraits:
    """Return the traits that a rule made from a group demands.

    Parameters
    ----------
    traits
        Those of the group.
    any_description
        Whether the rule is for every series description.
    """
    return replace(traits, description="") if any_description else traits


def carry_out_decisions(context: ProjectContext) -> list[tuple[str, str]]:
    """Carry out what stewards decided; safe to repeat, and to do on several workers.

    Parameters
    ----------
    context
        The project.

    Returns
    -------
    list of tuple of str and str
        Reference and profile of each study that starts again from its source, also of those that
        an earlier call left; an empty profile is the project's own.
    """
    for ref in context.ledger.reviews.to_carry_out(context.project.name):
        with context.ledger.studies.lock(ref) as ours:
            if ours:
                _carry_out(context, ref)
    return context.ledger.reviews.unfinished(context.project.name)


def _carry_out(context: ProjectContext, ref: str) -> None:
    """Carry out what is decided about one study, so that it starts again or is rejected."""
    ledger, folders = context.ledger, context.folders(ref)
    decided = ledger.reviews.decided(ref)
    state = ledger.studies.state(ref)
    if not decided or state is StudyState.WITHDRAWN:
        return
    goes_on = [one for one in decided.values() if one.verdict != "reject"]
    last = max(decided.values(), key=lambda one: one.number)
    with ledger.database.transaction():
        for one in {one.number: one for one in decided.values()}.values():
            who = f"{one.who}, {one.second}" if one.second else one.who
            profile = one.profile or context.project.profile
            ledger.audit.add_decision(ref, WORDS[one.verdict], who, one.reason, profile, one.codes)
        left = ledger.reviews.carry_out(ref, decided)
        if goes_on:
            if state is StudyState.HELD:
                ledger.studies.unhold(ref)
            else:
                ledger.studies.reopen(ref)
        elif state is StudyState.HELD and ("" in decided or not left):
            detail = f"rejected by {last.who}; the source's study is not taken again"
            ledger.studies.hold(ref, REJECTED, detail)
    if goes_on:
        folders.wipe()
    else:
        _remove_rejected(context, ref)


def _remove_rejected(context: ProjectContext, ref: str) -> None:
    if context.ledger.studies.held_code(ref) == REJECTED:
        remove_received(context, ref)
    elif is_received(context, ref):
        gone = {sha for code, sha in context.ledger.held.of_study(ref) if code == REJECTED}
        remove_rejected(context, ref, gone)


def take_on(context: ProjectContext, refs: Sequence[str]) -> int:
    """Take decided studies through every step, and tidy their quarantines.

    Parameters
    ----------
    context
        The studies' project, with the profile to use.
    refs
        The studies' references.

    Returns
    -------
    int
        How many of them are verified.

    Raises
    ------
    RetryableError
        Some did not get through this time.
    """
    through = list(refs)
    for name in STEPS:
        through = run_step(context, name, through).refs
    verified = clear_work_folders(context, through)
    _tidy(context, refs)
    return verified


def _tidy(context: ProjectContext, refs: Iterable[str]) -> None:
    """Remove from quarantines what is not held any more."""
    for ref in refs:
        with context.ledger.studies.lock(ref) as ours:
            if not ours or context.ledger.studies.state(ref) is not StudyState.VERIFIED:
                continue
            room = context.folders(ref).quarantine
            kept = {f"{sha}.dcm" for _, sha in context.ledger.held.of_study(ref)}
            if not kept:
                shutil.rmtree(room, ignore_errors=True)
            elif room.is_dir():
                for path in room.glob("*.dcm"):
                    if path.name not in kept:
                        path.unlink(missing_ok=True)
