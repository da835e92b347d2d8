"""Review: what is held is shown to a steward, who sends it on again, or takes it out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pacsgrid.errors import ConfigError
from pacsgrid.ledger import HeldRecord
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.model import StudyState
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.received_cleanup import is_received, remove_received, remove_rejected
from pacsgrid.pipeline.thumbnails import held_files


class Verdict(StrEnum):
    """What a steward may decide about one held study."""

    AGAIN = "Try again"
    REJECT = "Reject"
    LEAVE = "Leave it held"


@dataclass(frozen=True)
class Review:
    """One study that waits for a steward: its reasons, and how many held files there are."""

    ref: str
    whole: bool
    files: int
    reasons: tuple[tuple[str, str], ...]


def open_reviews(context: ProjectContext, limit: int, only: str = "") -> list[Review]:
    """Return the studies that wait, the longest first; `only` is a code or a study's reference."""
    rows: dict[str, list[HeldRecord]] = {}
    for row in context.ledger.held.queue(context.project.name):
        if row.code != REJECTED and only in ("", row.code, row.ref):
            rows.setdefault(row.ref, []).append(row)
    return [
        Review(
            ref,
            any(row.whole for row in mine),
            len(held_files(context.folders(ref).quarantine)),
            tuple(sorted({(row.code, row.detail) for row in mine})),
        )
        for ref, mine in list(rows.items())[:limit]
    ]


def decide(context: ProjectContext, ref: str, verdict: Verdict, who: str, reason: str) -> bool:
    """Carry out a steward's verdict; returns whether the study goes on its way again.

    Sent on again, a study starts from its source, with the line's profile. Rejected, a held study
    stays held as ``rejected``, and so do single held files; nobody is asked about them again. The
    quarantine keeps them until housekeeping's time is over, the receiver's folder no longer does.
    Done twice it is done once.

    Raises
    ------
    ConfigError
        No one is named, or what is held is no study of its source.
    """
    if not who.strip():
        raise ConfigError(f"{ref}: a decision needs the name of who decides")
    if verdict is Verdict.LEAVE:
        return False
    with context.ledger.studies.lock(ref) as ours:
        if not ours:
            return False
        waits = [row for row in context.ledger.held.queue(context.project.name) if row.ref == ref]
        if not any(row.code != REJECTED for row in waits):
            return False
        again = verdict is Verdict.AGAIN
        if again and not context.vault.open(ref, context.ledger.vault.sealed(ref)).get("study_uid"):
            raise ConfigError(
                f"{ref}: this is no study that its source could give again; correct it there, it "
                "is found by itself then, and reject this entry"
            )
        context.ledger.audit.add_decision(ref, verdict.value, who, reason, context.profile.name)
        held = context.ledger.studies.state(ref) is StudyState.HELD
        if again:
            (context.ledger.studies.unhold if held else context.ledger.studies.reopen)(ref)
            shutil.rmtree(context.folders(ref).quarantine, ignore_errors=True)
        elif held:
            detail = f"taken out by {who}; the source's study is not taken again"
            context.ledger.studies.hold(ref, REJECTED, detail)
            remove_received(context, ref)
        elif is_received(context, ref):
            remove_rejected(
                context, ref, {sha256 for _, sha256 in context.ledger.held.of_study(ref)}
            )
        else:
            context.ledger.held.reject(ref, f"taken out by {who}; it is not taken again")
            return False
        context.ledger.held.remove(ref)
        return again


def count_by_reason(reviews: Sequence[Review]) -> dict[str, int]:
    """Return how many studies wait for each reason."""
    counts: dict[str, int] = {}
    for review in reviews:
        for code in {code for code, _ in review.reasons}:
            counts[code] = counts.get(code, 0) + 1
    return counts
