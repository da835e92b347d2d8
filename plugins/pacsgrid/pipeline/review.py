"""Review: show what is held to a steward, who sends it on again or rejects it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pacsgrid.errors import ConfigError
from pacsgrid.ledger import HeldRecord
from pacsgrid.ledger.codes import CONSENT_REFUSED, REJECTED
from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import is_received, remove_received, remove_rejected
from pacsgrid.pipeline.thumbnails import held_files


class Verdict(StrEnum):
    """What a steward may decide about a held study."""

    AGAIN = "Try again"
    REJECT = "Reject"
    LEAVE = "Leave it held"


@dataclass(frozen=True)
class Review:
    """A study that waits for a steward.

    Attributes
    ----------
    ref
        The study's reference.
    whole
        Whether the study as a whole is held, not only some of its files.
    files
        How many held files there are.
    reasons
        Code and text of each reason.
    """

    ref: str
    whole: bool
    files: int
    reasons: tuple[tuple[str, str], ...]


def open_reviews(context: ProjectContext, limit: int, only: str = "") -> list[Review]:
    """Return the studies that wait for a steward, those that wait longest first.

    Parameters
    ----------
    context
        The project.
    limit
        How many to return at most.
    only
        A code or a study's reference, to return only those; empty for all.

    Returns
    -------
    list of Review
        One for each study.
    """
    rows: dict[str, list[HeldRecord]] = {}
    for row in context.ledger.held.queue(context.project.name):
        if row.code not in (REJECTED, CONSENT_REFUSED) and only in ("", row.code, row.ref):
            rows.setdefault(row.ref, []).append(row)
    return [
        Review(
            ref,
            any(row.whole for row in own),
            len(held_files(context.folders(ref).quarantine)),
            tuple(sorted({(row.code, row.detail) for row in own})),
        )
        for ref, own in list(rows.items())[:limit]
    ]


def decide(context: ProjectContext, ref: str, verdict: Verdict, who: str, reason: str) -> bool:
    """Carry out a steward's verdict; safe to repeat.

    To try again, a study is retrieved anew and processed with the context's profile. A rejected
    study stays held with the code ``rejected``, and so do rejected single files; nobody is asked
    about them again. The quarantine keeps them until housekeeping removes them; the receiver's
    folder does not keep them.

    Parameters
    ----------
    context
        The study's project.
    ref
        The study's reference.
    verdict
        What was decided.
    who
        Who decided, for the audit trail.
    reason
        Why, for the audit trail.

    Returns
    -------
    bool
        Whether the study goes on.

    Raises
    ------
    ConfigError
        No one is named, or what is held is not a study of its source.
    """
    if not who.strip():
        raise ConfigError(f"{ref}: a decision needs the name of who decides")
    if verdict is Verdict.LEAVE:
        return False
    with context.ledger.studies.lock(ref) as ours:
        if not ours:
            return False
        waiting = [row for row in context.ledger.held.queue(context.project.name) if row.ref == ref]
        codes = {row.code for row in waiting if row.code != REJECTED}
        if not codes:
            return False
        if verdict is Verdict.AGAIN:
            _check_retrievable(context, ref)
        context.ledger.audit.add_decision(
            ref, verdict.value, who, reason, context.profile.name, codes
        )
        if verdict is Verdict.AGAIN:
            _send_on(context, ref)
            return True
        _reject(context, ref, who)
        return False


def _check_retrievable(context: ProjectContext, ref: str) -> None:
    """Raise ConfigError unless the source could give the study again, or it is a result."""
    if context.ledger.results.get(ref) is not None:
        return
    if not context.vault.open(ref, context.ledger.vault.sealed(ref)).get("study_uid"):
        raise ConfigError(
            f"{ref}: the source cannot give this again, since it is not a study; correct it "
            "there, so that it is found as a study, and reject this entry"
        )


def _send_on(context: ProjectContext, ref: str) -> None:
    if context.ledger.results.get(ref) is not None:
        context.ledger.results.reopen(ref)
    elif context.ledger.studies.state(ref) is StudyState.HELD:
        context.ledger.studies.unhold(ref)
    else:
        context.ledger.studies.reopen(ref)
    context.folders(ref).set_aside()
    context.ledger.held.remove(ref)


def _reject(context: ProjectContext, ref: str, who: str) -> None:
    if context.ledger.studies.state(ref) is StudyState.HELD:
        detail = f"rejected by {who}; the source's study is not taken again"
        context.ledger.studies.hold(ref, REJECTED, detail)
        if context.ledger.results.get(ref) is not None:
            context.folders(ref).wipe()
        remove_received(context, ref)
    elif is_received(context, ref):
        remove_rejected(context, ref, {sha256 for _, sha256 in context.ledger.held.of_study(ref)})
    else:
        context.ledger.held.reject(ref, f"rejected by {who}; it is not taken again")
        return
    context.ledger.held.remove(ref)


def count_by_reason(reviews: Sequence[Review]) -> dict[str, int]:
    """Return how many studies wait for each reason's code."""
    return dict(
        Counter(code for review in reviews for code in {code for code, _ in review.reasons})
    )
