"""What the DAG `review_held` calls: it asks a steward, and carries out the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pacsgrid.airflow.tasks import log, project_context

AGAIN, REJECT, LEAVE = "Try again", "Reject", "Leave it held"


def questions(params: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a question for each held study, those that wait longest first.

    Parameters
    ----------
    params
        The run's parameters: ``project``, ``limit``, and ``only``, a reason or a reference.

    Returns
    -------
    list of dict of str to str
        ``subject`` and ``body`` of each question.
    """
    with project_context(params, "review_held") as context:
        from pacsgrid.pipeline.review import count_by_reason, open_reviews

        reviews = open_reviews(context, params["limit"], params.get("only") or "")
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
        # The page shows these to users who may trigger review_held, and records each view.
        picture = f"pacsgrid/api/studies/{ref}/pictures/0"
        lines += ["", "Its first held image, and what anonymising would make of it:", ""]
        lines += [f"![as held]({picture}) ![after anonymising]({picture}/after)"]
    lines += ["", f"[Held images and story](../../../../../plugin/pacsgrid#study/{ref})"]
    return "\n".join(lines)


def carry_out(
    params: Mapping[str, Any], subject: str, answer: Mapping[str, Any]
) -> dict[str, str] | None:
    """Carry out one answer of a steward.

    Parameters
    ----------
    params
        The run's parameters.
    subject
        The question's subject, which begins with the study's reference.
    answer
        What Airflow's HITLOperator returned: the option, the form's fields and the user.

    Returns
    -------
    dict of str to str or None
        The study's ``ref`` and the ``profile`` to use, if it is to be tried again.
    """
    from pacsgrid.pipeline.review import Verdict, decide

    ref = subject.split(":")[0]
    given = answer.get("params_input") or {}
    user = answer.get("responded_by_user") or {}
    profile = given.get("profile") or ""
    with project_context({**params, "profile": profile}, "review_held") as context:
        verdict = Verdict(answer["chosen_options"][0])
        who = str(user.get("name") or user.get("id") or "")
        if not who and verdict is Verdict.LEAVE:
            return None  # nobody answered in time
        again = decide(context, ref, verdict, who, given.get("reason") or "")
        return {"ref": ref, "profile": profile} if again else None


def resume(params: Mapping[str, Any], studies: Sequence[Mapping[str, str] | None]) -> int:
    """Take the studies that are to be tried again through every step of the pipeline.

    Parameters
    ----------
    params
        The run's parameters.
    studies
        What `carry_out` returned for each answer.

    Returns
    -------
    int
        How many of them were verified.
    """
    done = 0
    by_profile: dict[str, list[str]] = {}
    for one in filter(None, studies):
        by_profile.setdefault(one["profile"], []).append(one["ref"])
    for profile, refs in by_profile.items():
        with project_context({**params, "profile": profile}, "review_held") as context:
            from pacsgrid.pipeline import STEPS, clear_work_folders, run_step

            for name in STEPS:
                refs = run_step(context, name, refs).refs
            done += clear_work_folders(context, refs)
    return done


def carry_out_page(params: Mapping[str, Any]) -> list[dict[str, str]]:
    """Carry out what was decided on the page.

    Parameters
    ----------
    params
        The run's parameters.

    Returns
    -------
    list of dict of str to str
        ``ref`` and ``profile`` of each study that starts again.
    """
    with project_context({**params, "profile": ""}, "review_held") as context:
        from pacsgrid.pipeline.held_decisions import carry_out_decisions

        going = carry_out_decisions(context)
        log.info("%d studies start again", len(going))
        return [{"ref": ref, "profile": profile} for ref, profile in going]


def take_on(params: Mapping[str, Any], studies: Sequence[Mapping[str, str]]) -> int:
    """Take the studies that start again through every step of the pipeline.

    Parameters
    ----------
    params
        The run's parameters.
    studies
        What `carry_out_page` returned.

    Returns
    -------
    int
        How many of them were verified.
    """
    done = 0
    for profile in sorted({one["profile"] for one in studies}):
        with project_context({**params, "profile": profile}, "review_held") as context:
            from pacsgrid.pipeline.held_decisions import take_on as take

            done += take(context, [one["ref"] for one in studies if one["profile"] == profile])
    log.info("%d of %d studies are verified", done, len(studies))
    return done
