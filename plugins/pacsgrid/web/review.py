"""Routes of the review: what is held in groups, held files' frames, decisions and rules.

All need the right to trigger `review_held`. Each look at what may identify is entered into the
audit trail first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Response

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError, HeldError
from pacsgrid.ledger import Ledger, Overview
from pacsgrid.ledger.held_groups import HeldFile, HeldFileDetails, HeldGroup, HeldGroups
from pacsgrid.ledger.overview import HeldCounts
from pacsgrid.ledger.reviews import Decision, RuleEntry, Selected
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.held_decisions import enter_decision, traits_for_rule
from pacsgrid.pipeline.held_frames import (
    FrameWindow,
    anonymised,
    frame_of,
    header_difference,
    held_file,
    text_boxes,
)
from pacsgrid.pipeline.thumbnails import thumbnail, thumbnail_anonymised
from pacsgrid.review_model import BlankRegion, Verdict
from pacsgrid.web.access import SiteDep, Viewer, ViewerDep

_PAGE = 60


def _steward(who: ViewerDep) -> Viewer:
    """Return the viewer if it is a steward; answer 403 otherwise."""
    if not who.reviews:
        raise HTTPException(403, "what is held is reviewed by those who may trigger review_held")
    return who


StewardDep = Annotated[Viewer, Depends(_steward)]
router = APIRouter(prefix="/api/review")


@dataclass(frozen=True)
class GroupPage:
    """A page of groups, and the time at which it was read.

    Attributes
    ----------
    more
        Whether there are further groups.
    held
        How many studies and files are held, counted apart.
    decided
        By project, how many files and studies are decided and not carried out yet.
    """

    now: datetime
    groups: list[HeldGroup]
    more: bool
    held: HeldCounts
    decided: dict[str, int]


@dataclass(frozen=True)
class GroupFiles:
    """A page of what waits in a group."""

    now: datetime
    group: HeldGroup
    files: list[HeldFile]
    more: bool


@dataclass(frozen=True)
class FileView:
    """A held file, and which profiles it can be tried again with."""

    details: HeldFileDetails
    profiles: tuple[str, ...]
    four_eyes: bool


@dataclass(frozen=True)
class FileName:
    """A held file by its study and SHA-256; an empty one for a study held as a whole."""

    ref: str
    sha256: str = ""


@dataclass(frozen=True)
class DrawnRegion:
    """A rectangle, in pixels; right and bottom are excluded. Without a frame, for all frames."""

    left: int
    top: int
    right: int
    bottom: int
    frame: int | None = None


@dataclass(frozen=True)
class DecisionRequest:
    """What a steward decides.

    Attributes
    ----------
    project
        The project's name.
    verdict
        ``approve``, ``blank``, ``reject`` or ``again``.
    reason
        Why; naming no one.
    group
        The group that this is about: all that waits in it, unless `files` names some of it.
    until
        When the group was shown: what came later is not decided.
    files
        Files or studies of the group.
    series
        Whether the rest of their series is meant, too.
    regions
        What is blanked.
    profile
        The profile to try again with.
    always
        Whether later files like these are decided so, too.
    any_description
        Whether that rule is for every series description.
    only_later
        Whether nothing that is held now is decided.
    """

    project: str
    verdict: Verdict
    reason: str
    group: str
    until: datetime | None = None
    files: list[FileName] = field(default_factory=list)
    series: bool = False
    regions: list[DrawnRegion] = field(default_factory=list)
    profile: str = ""
    always: bool = False
    any_description: bool = False
    only_later: bool = False


@dataclass(frozen=True)
class DecisionAnswer:
    """A decision that was entered.

    Attributes
    ----------
    decision
        Its number.
    files
        How many files and studies it is about.
    waits_for_second
        Whether a second steward must agree.
    alike
        The other groups of the same device, kind and size, which may be decided alike.
    """

    decision: int
    files: int
    waits_for_second: bool
    alike: list[HeldGroup]


@dataclass(frozen=True)
class Unanswered:
    """A decision that waits for a second steward."""

    decision: Decision
    files: int


def _view(site: Site, who: Viewer, project: str | None = None) -> HeldGroups:
    if project and project not in who.projects:
        raise HTTPException(404, f"no project {project} that you may see")
    return HeldGroups(site.ledger_dsn, [project] if project else who.projects)


@router.get("/groups")
def groups(
    site: SiteDep,
    who: StewardDep,
    project: str | None = None,
    code: str = "",
    modality: str = "",
    words: str = "",
    after: int | None = None,
    id: str = "",
) -> GroupPage:
    """Return a page of what waits, in groups of what is alike, the largest first.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    code, modality, words
        Only groups with this reason, this modality, and this in device or description.
    after, id
        Count and id of the last group of the page before; None for the first page.
    """
    last = (after, id) if after is not None else None
    view = _view(site, who, project)
    counts = Overview(site.ledger_dsn, [project] if project else who.projects)
    with view.snapshot():
        found = view.page(_PAGE + 1, last, code, modality, words)
        decided = view.count_decided()
    return GroupPage(
        datetime.now(UTC), found[:_PAGE], len(found) > _PAGE, counts.held_counts(), decided
    )


@router.get("/groups/{group}")
def files(
    site: SiteDep,
    who: StewardDep,
    group: str,
    since: datetime | None = None,
    ref: str = "",
    sha256: str = "",
) -> GroupFiles:
    """Return a page of what waits in a group, the oldest first.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    group
        The group's name.
    since, ref, sha256
        Those of the last one of the page before; None for the first page.
    """
    view = _view(site, who)
    with view.snapshot():
        found = view.get(group)
        if found is None:
            raise HTTPException(404, "no such group that you may see")
        rows = view.files(group, _PAGE + 1, (since, ref, sha256) if since else None)
    return GroupFiles(datetime.now(UTC), found, rows[:_PAGE], len(rows) > _PAGE)


@router.get("/files/{ref}/{sha256}")
def file(site: SiteDep, who: StewardDep, ref: str, sha256: str) -> FileView:
    """Return what the ledger knows of a held file, without identifying values.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref, sha256
        The file's study, and its SHA-256.
    """
    details = _details(site, who, ref, sha256)
    settings = site.project(details.project)
    return FileView(details, settings.profiles, settings.four_eyes)


def _details(site: Site, who: Viewer, ref: str, sha256: str) -> HeldFileDetails:
    details = _view(site, who).file(ref, sha256)
    if details is None:
        raise HTTPException(404, "no held file with this SHA-256 that you may see")
    return details


@contextmanager
def _opened(
    site: Site, who: Viewer, ref: str, sha256: str, what: str, profile: str = ""
) -> Iterator[tuple[ProjectContext, Path]]:
    """Yield project and path of a held file, once it is recorded who looks at it."""
    details = _details(site, who, ref, sha256)
    try:
        context = ProjectContext(site, details.project, who.name, profile)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    with context:
        try:
            path = held_file(context, ref, sha256)
            context.ledger.audit.add_access(who.name, ref, f"{what}, file {sha256[:12]}")
            yield context, path
        except HeldError as error:
            raise HTTPException(422, error.detail) from None


@router.get("/files/{ref}/{sha256}/thumbnail")
def file_thumbnail(
    site: SiteDep, who: StewardDep, ref: str, sha256: str, after: bool = False
) -> Response:
    """Return a small picture of a held file's first frame as PNG; record who looked at it.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref, sha256
        The file's study, and its SHA-256.
    after
        Whether it is shown as anonymising would make it.
    """
    what = "thumbnail after anonymising" if after else "thumbnail"
    with _opened(site, who, ref, sha256, what) as (context, path):
        png = thumbnail_anonymised(context, path) if after else thumbnail(path)
    return Response(png, media_type="image/png")


@router.get("/files/{ref}/{sha256}/frames/{number}")
def frame(
    site: SiteDep,
    who: StewardDep,
    ref: str,
    sha256: str,
    number: int,
    after: bool = False,
    profile: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Response:
    """Return a frame of a held file as PNG; record who looked at it.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref, sha256
        The file's study, and its SHA-256.
    number
        The frame's number, from 0.
    after, profile
        Whether it is shown as anonymising would make it, and with which profile.
    low, high
        The values shown black and white; None for those that suit the image.

    Returns
    -------
    Response
        The PNG image; the headers ``X-Lowest`` and ``X-Highest`` are the range of its values.
    """
    window = FrameWindow(low, high)
    what = f"frame {number + 1}{' after anonymising' if after else ''}"
    with _opened(site, who, ref, sha256, what, profile) as (context, path):
        if after:
            with anonymised(context, path) as made:
                shown = frame_of(made, number, window)
        else:
            shown = frame_of(path, number, window)
    limits = {"X-Lowest": f"{shown.lowest:g}", "X-Highest": f"{shown.highest:g}"}
    return Response(shown.png, media_type="image/png", headers=limits)


@router.get("/files/{ref}/{sha256}/frames/{number}/text")
def text(
    site: SiteDep, who: StewardDep, ref: str, sha256: str, number: int
) -> list[tuple[int, int, int, int]]:
    """Return where text is found in a frame: left, top, right and bottom of each box.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref, sha256
        The file's study, and its SHA-256.
    number
        The frame's number, from 0.
    """
    with _opened(site, who, ref, sha256, f"text boxes of frame {number + 1}") as (_, path):
        return text_boxes(path, number)


@router.get("/files/{ref}/{sha256}/header")
def header(
    site: SiteDep,
    who: StewardDep,
    ref: str,
    sha256: str,
    values: bool = False,
    profile: str = "",
) -> list[str]:
    """Return what becomes of each element of a held file's header, without values by default.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    ref, sha256
        The file's study, and its SHA-256.
    values
        Whether to show the values, which identify.
    profile
        The name of the profile; empty for the project's default.
    """
    what = "header with values" if values else "header without values"
    with _opened(site, who, ref, sha256, what, profile) as (context, path):
        return header_difference(context, path, values)


@router.post("/decisions")
def decide(site: SiteDep, who: StewardDep, wanted: DecisionRequest) -> DecisionAnswer:
    """Enter a decision about files or a group, and with `always` a rule.

    It takes effect with the next run of `review_held`.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    wanted
        What is decided.

    Returns
    -------
    DecisionAnswer
        Its number, and how many files it is about.

    Raises
    ------
    HTTPException
        404 for a group that the user may not see, 422 for a decision that is not possible.
    """
    view = _view(site, who, wanted.project)
    group = view.get(wanted.group)
    if group is None or group.project != wanted.project:
        raise HTTPException(404, "no such group that you may see")
    drawn = tuple(
        BlankRegion(one.left, one.top, one.right, one.bottom, one.frame) for one in wanted.regions
    )
    if any(box.right > group.traits.columns or box.bottom > group.traits.rows for box in drawn):
        raise HTTPException(422, "a rectangle lies outside the image; draw it again")
    if group.whole and wanted.verdict in ("approve", "blank"):
        raise HTTPException(
            422, "a study that is held as a whole is tried again with another profile, or rejected"
        )
    decision = Decision(
        wanted.project,
        wanted.verdict,
        frozenset({group.code}),
        wanted.reason.strip(),
        who.name,
        wanted.profile,
        drawn,
        traits_for_rule(group.traits, wanted.any_description),
        always=wanted.always,
    )
    named = tuple((one.ref, one.sha256) for one in wanted.files)
    selected = Selected(named, "" if named else group.id, wanted.until, wanted.series)
    if wanted.only_later:
        selected = Selected()
    ledger, settings = Ledger(site.ledger_dsn, who.name), site.project(wanted.project)
    try:
        number, count = enter_decision(ledger, settings, decision, selected)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    entered = ledger.reviews.get(number)
    seconded = bool(entered and entered.needs_second)
    return DecisionAnswer(number, count, seconded, [] if group.whole else view.like(group))


@router.get("/decisions/unanswered")
def unanswered(site: SiteDep, who: StewardDep, project: str | None = None) -> list[Unanswered]:
    """Return the decisions that wait for a second steward.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    """
    _view(site, who, project)
    names = [project] if project else who.projects
    rows = Ledger(site.ledger_dsn).reviews.unanswered(names)
    return [Unanswered(decision, count) for decision, count in rows]


@router.post("/decisions/{number}/{answer}")
def second(
    site: SiteDep, who: StewardDep, number: int, answer: Literal["agree", "disagree"]
) -> dict[str, bool]:
    """Answer as the second steward.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    number
        The decision's number.
    answer
        Whether the second steward agrees.

    Returns
    -------
    dict of str to bool
        Whether the decision is in force.

    Raises
    ------
    HTTPException
        404 for a decision that the user may not see, 409 if it was answered already, 422 if the
        user made it.
    """
    reviews = Ledger(site.ledger_dsn, who.name).reviews
    decision = reviews.get(number)
    if decision is None or decision.project not in who.projects:
        raise HTTPException(404, "no decision with this number that you may see")
    try:
        if not reviews.answer(number, who.name, answer == "agree"):
            raise HTTPException(409, "somebody has answered this meanwhile")
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    return {"in_force": answer == "agree"}


@router.get("/rules")
def rules(site: SiteDep, who: StewardDep, project: str | None = None) -> list[RuleEntry]:
    """Return every rule with how often it decided, the newest first.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    project
        A project's name; None for all that the user may see.
    """
    _view(site, who, project)
    return Ledger(site.ledger_dsn).reviews.rules([project] if project else who.projects)


@dataclass(frozen=True)
class EndRequest:
    """Why a rule is revoked."""

    reason: str


@router.post("/rules/{number}/end")
def end_rule(site: SiteDep, who: StewardDep, number: int, wanted: EndRequest) -> dict[str, bool]:
    """Revoke a rule: later files like these are held again.

    Parameters
    ----------
    site, who
        The site settings, and who is logged in.
    number
        The rule's number.
    wanted
        Why.

    Returns
    -------
    dict of str to bool
        That the rule is not in force.

    Raises
    ------
    HTTPException
        404 for a rule that the user may not see, 409 if it is revoked already.
    """
    reviews = Ledger(site.ledger_dsn, who.name).reviews
    rule = reviews.get(number)
    if rule is None or not rule.always or rule.project not in who.projects:
        raise HTTPException(404, "no rule with this number that you may see")
    if not reviews.end_rule(number, who.name, wanted.reason.strip()):
        raise HTTPException(409, "the rule is revoked already")
    return {"in_force": False}
