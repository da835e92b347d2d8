"""What stewards see of the results that researchers sent back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pacsgrid.ledger.project_view import ProjectView
from pacsgrid.model import StudyState


class Standing(StrEnum):
    """What a steward decided about a result."""

    WAITING = "waiting"
    RELEASED = "released"
    WITHHELD = "withheld"


@dataclass(frozen=True)
class ResultKind:
    """How many objects of a result have a SOP class."""

    sop_class: str
    objects: int


@dataclass(frozen=True)
class ResultEntry:
    """A result, with what a steward needs to decide about it.

    Attributes
    ----------
    ref, study_ref
        The references of the result and of the study that it is a result of.
    study_uid
        The study's pseudonymous UID.
    sent_at
        When its last object came.
    senders, software
        Who sent its objects, and what made them.
    held_code
        Why it is held; empty if it is not.
    good, bad
        How many replicas are good and bad by their newest proof.
    decided_by, reason
        The last decision; empty without one.
    """

    ref: str
    study_ref: str
    study_uid: str
    project: str
    name: str
    standing: Standing
    state: StudyState
    created_at: datetime
    sent_at: datetime
    kinds: list[ResultKind]
    senders: list[str]
    software: list[str]
    held_code: str
    good: int
    bad: int
    decided_by: str
    reason: str
    decided_at: datetime | None


class ResultOverview(ProjectView):
    """The results of some projects, the newest first."""

    def results(
        self,
        standing: Standing | None = None,
        limit: int = 50,
        after: tuple[datetime, str] | None = None,
    ) -> list[ResultEntry]:
        """Return a page of results, without those of withdrawn patients.

        Parameters
        ----------
        standing
            What was decided; None for any.
        limit
            How many at most.
        after
            Creation and reference of the last result of the page before; None for the first page.
        """
        # Each project is read from its place in the index, and no further than one page.
        rows = self._all(
            "SELECT r.ref, r.study_ref, coalesce(s.study_uid, ''), r.project, r.name, r.standing,"
            " s.state, r.created_at, coalesce(i.sent_at, r.created_at), coalesce(s.held_code, ''),"
            " coalesce(p.good, 0), coalesce(p.bad, 0), coalesce(d.who, ''),"
            " coalesce(d.reason, ''), r.decided_at, coalesce(i.senders, '{}'),"
            " coalesce(i.software, '{}')"
            " FROM unnest(%(projects)s::text[]) AS q (name)"
            " CROSS JOIN unnest(%(standings)s::text[]) AS t (name) CROSS JOIN LATERAL"
            " (SELECT one.* FROM pacsgrid.result one WHERE project = q.name AND standing = t.name"
            + (" AND (created_at, ref) < (%(at)s, %(ref)s)" if after else "")
            + " AND EXISTS (SELECT FROM pacsgrid.study"
            " WHERE ref = one.ref AND state <> 'withdrawn')"
            " ORDER BY created_at DESC, ref DESC LIMIT %(limit)s) AS r"
            " JOIN pacsgrid.study s ON s.ref = r.ref"
            " LEFT JOIN LATERAL (SELECT max(at) AS sent_at, array_agg(DISTINCT who) AS senders,"
            " array_agg(DISTINCT software) AS software FROM pacsgrid.result_item WHERE ref = r.ref)"
            " AS i ON true"
            " LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE good) AS good,"
            " count(*) FILTER (WHERE NOT good) AS bad FROM pacsgrid.proof WHERE ref = r.ref)"
            " AS p ON true"
            " LEFT JOIN LATERAL (SELECT who, reason FROM pacsgrid.decision WHERE ref = r.ref"
            " AND verdict IN ('release-result', 'withhold-result') ORDER BY id DESC LIMIT 1)"
            " AS d ON true ORDER BY r.created_at DESC, r.ref DESC LIMIT %(limit)s",
            {
                "projects": self._projects,
                "standings": [standing.value] if standing else [one.value for one in Standing],
                "limit": limit,
                "at": after and after[0],
                "ref": after and after[1],
            },
        )
        kinds = self._kinds([row[0] for row in rows])
        return [
            ResultEntry(
                ref=row[0],
                study_ref=row[1],
                study_uid=row[2],
                project=row[3],
                name=row[4],
                standing=Standing(row[5]),
                state=StudyState(row[6]),
                created_at=row[7],
                sent_at=row[8],
                kinds=kinds.get(row[0], []),
                senders=row[15],
                software=[one for one in row[16] if one],
                held_code=row[9],
                good=row[10],
                bad=row[11],
                decided_by=row[12],
                reason=row[13],
                decided_at=row[14],
            )
            for row in rows
        ]

    def _kinds(self, refs: Sequence[str]) -> dict[str, list[ResultKind]]:
        found: dict[str, list[ResultKind]] = {}
        for ref, sop_class, objects in self._all(
            "SELECT ref, sop_class, count(*) FROM pacsgrid.result_item WHERE ref = ANY(%s)"
            " GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2",
            (list(refs),),
        ):
            found.setdefault(ref, []).append(ResultKind(sop_class, objects))
        return found
