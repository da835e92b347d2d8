"""What the DAG `review_held` calls: questions for a steward, and the answers carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pacsgrid.airflow.tasks import log, project_context

AGAIN, REJECT, LEAVE = "Try again", "Reject", "Leave it held"


def questions(params: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a subject and a body for each study that waits, the longest first."""
    with project_context(params, "review_held") as opened:
        from pacsgrid.pipeline.review import count_by_reason, open_reviews

        reviews = open_reviews(opened, params["limit"], params.get("only") or "")
        for code, count in count_by_reason(reviews).items():
            log.info("%d studies wait for %s", count, code)
        return [
            {
                "subject": f"{review.ref}: {', '.join(sorted({c for c, _ in review.reasons}))}",
                "body": _body(review.ref, review.whole, review.files, review.reasons),
            }
            for review in reviews
        ]


def _body(ref: str, whole: bool, files: int, reasons: Sequence[tuple[str, str]]) -> str:
    what = "The whole study is held" if whole else "Single files of this study are held"
    lines = [f"{what}; {files} held files are kept.", ""]
    lines += [f"- `{code}`: {detail}" for code, detail in reasons]
    if files:
        # The page shows these to who may trigger review_held, and enters each look.
        picture = f"pacsgrid/api/studies/{ref}/pictures/0"
        lines += ["", "Its first held image, and what anonymising would make of it:", ""]
        lines += [f"![as held]({picture}) ![after anonymising]({picture}/after)"]
    lines += ["", f"[Held images and story](../../../../../plugin/pacsgrid#study/{ref})"]
    return "\n".join(lines)


def carry_out(
    params: Mapping[str, Any], subject: str, answer: Mapping[str, Any]
) -> dict[str, str] | None:
    """Carry out one answer; returns the reference and profile of a study that goes on again."""
    from pacsgrid.pipeline.review import Verdict, decide

    ref = subject.split(":")[0]
    given = answer.get("params_input") or {}
    user = answer.get("responded_by_user") or {}
    profile = given.get("profile") or ""
    with project_context({**params, "profile": profile}, "review_held") as opened:
        verdict = Verdict(answer["chosen_options"][0])
        who = str(user.get("name") or user.get("id") or "")
        if not who and verdict is Verdict.LEAVE:
            return None  # nobody answered in time
        on = decide(opened, ref, verdict, who, given.get("reason") or "")
        return {"ref": ref, "profile": profile} if on else None


def go_on(params: Mapping[str, Any], released: Sequence[Mapping[str, str] | None]) -> int:
    """Take the studies that were sent on again through every step; returns how many got there."""
    done = 0
    by_profile: dict[str, list[str]] = {}
    for one in filter(None, released):
        by_profile.setdefault(one["profile"], []).append(one["ref"])
    for profile, refs in by_profile.items():
        with project_context({**params, "profile": profile}, "review_held") as opened:
            from pacsgrid.pipeline import STEPS, clear_work_folders, run_step

            for name in STEPS:
                refs = run_step(opened, name, refs).refs
            done += clear_work_folders(opened, refs)
    return done
