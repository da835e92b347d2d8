"""What stewards see of the ledger: counts and ages of states, replica health, a study's story.

It only reads, and no identifying value: vault entries are not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pacsgrid.ledger.audit import AuditTrail
from pacsgrid.ledger.held_items import HELD_OF_STUDY, HeldFilter, held_page
from pacsgrid.ledger.project_view import ProjectView
from pacsgrid.ledger.records import (
    AccessRecord,
    DecisionRecord,
    HeldRecord,
    ListedStudy,
    StateChange,
    StudyRecord,
)
from pacsgrid.ledger.series_choices import ContentWarning, NotWanted, SeriesChoices
from pacsgrid.model import StudyState


class StudyOrder(StrEnum):
    """How a list of studies is sorted: by the last change of their state, or by size."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"
    SMALLEST = "smallest"

    @property
    def column(self) -> str:
        """The column of the ledger."""
        return "bytes" if self in (StudyOrder.LARGEST, StudyOrder.SMALLEST) else "changed_at"

    @property
    def falling(self) -> bool:
        """Whether the greatest value comes first."""
        return self in (StudyOrder.NEWEST, StudyOrder.LARGEST)


@dataclass(frozen=True)
class StateCount:
    """How many studies of a project are in a state; ``oldest`` is when the first came into it."""

    project: str
    state: StudyState
    studies: int
    oldest: datetime


@dataclass(frozen=True)
class ReplicaHealth:
    """What one resource of a zone holds of a project.

    Attributes
    ----------
    good, bad
        How many replicas are good and bad by their newest proof.
    failures
        How often a replica was found bad there.
    oldest, newest
        When the servers recomputed the oldest and the newest of these proofs.
    """

    project: str
    zone: str
    resource: str
    good: int
    bad: int
    failures: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True)
class HourVolume:
    """What became verified within one hour; ``size`` is in bytes."""

    hour: datetime
    studies: int
    instances: int
    size: int


@dataclass(frozen=True)
class HeldCounts:
    """What waits for a steward: whole studies, and single files of studies that went on."""

    studies: int
    files: int


@dataclass(frozen=True)
class NotWantedCount:
    """What was left at the sources because no rule wants it."""

    series: int
    instances: int


@dataclass(frozen=True)
class ZoneCopies:
    """One study's replicas in one zone; ``at`` is when the oldest of their proofs was made."""

    zone: str
    good: int
    bad: int
    at: datetime


@dataclass(frozen=True)
class Story:
    """What the ledger knows of one study.

    Attributes
    ----------
    size
        In bytes.
    study_uid
        Its pseudonymous UID; empty if nothing of it is anonymised.
    """

    study: StudyRecord
    instances: int
    size: int
    held: list[HeldRecord]
    audit: list[StateChange]
    copies: list[ZoneCopies]
    accesses: list[AccessRecord]
    decisions: list[DecisionRecord]
    not_wanted: list[NotWanted]
    warnings: list[ContentWarning]
    study_uid: str


class Overview(ProjectView):
    """Studies by state, held studies, replica health, and the story of one study."""

    def states(self) -> list[StateCount]:
        """Return the count of every state that occurs, per project."""
        rows = self._all(
            "SELECT project, state, studies, changed_at FROM (SELECT project, key AS state,"
            " sum(number)::bigint AS studies FROM pacsgrid.counter"
            " WHERE project = ANY(%s) AND kind = 'state' GROUP BY 1, 2) AS counted"
            " CROSS JOIN LATERAL (SELECT changed_at FROM pacsgrid.study s"
            " WHERE s.project = counted.project AND s.state = counted.state"
            " ORDER BY changed_at LIMIT 1) AS oldest WHERE studies > 0 ORDER BY 1, 2",
            (self._projects,),
        )
        return [StateCount(p, StudyState(s), n, at) for p, s, n, at in rows]

    def held(
        self,
        limit: int = 500,
        after: HeldRecord | None = None,
        code: str = "",
        whole: bool | None = None,
        newest: bool = False,
    ) -> list[HeldRecord]:
        """Return a page of held studies and files.

        Parameters
        ----------
        limit
            How many at most; files that were held together with the last one come too.
        after
            The last record of the page before; None for the first page.
        code
            The reason; empty for any.
        whole
            Whole studies only, or single files only; None for both.
        newest
            Whether the newest come first, not the oldest.
        """
        place = (after.since, after.ref, after.code) if after else None
        wanted = HeldFilter(code, whole, newest)
        with self.snapshot():
            return held_page(self._database, self._projects, limit, place, wanted)

    def held_counts(self) -> HeldCounts:
        """Return how many whole studies and how many single files are held."""
        counted = dict(
            self._all(
                "SELECT kind, sum(number)::bigint FROM pacsgrid.counter"
                " WHERE project = ANY(%s) AND kind IN ('held_study', 'held_file') GROUP BY 1",
                (self._projects,),
            )
        )
        return HeldCounts(counted.get("held_study", 0), counted.get("held_file", 0))

    def held_reasons(self, ever: bool = False) -> dict[str, HeldCounts]:
        """Return how many whole studies and single files each reason holds, the most first.

        With `ever`, the reasons of the past come too, with 0.
        """
        rows = self._all(
            "SELECT key, coalesce(sum(number) FILTER (WHERE kind = 'held_study'), 0)::bigint,"
            " coalesce(sum(number) FILTER (WHERE kind = 'held_file'), 0)::bigint"
            " FROM pacsgrid.counter WHERE project = ANY(%s)"
            " AND kind IN ('held_study', 'held_file') GROUP BY 1 ORDER BY sum(number) DESC, 1",
            (self._projects,),
        )
        return {
            code: HeldCounts(studies, files)
            for code, studies, files in rows
            if ever or studies or files
        }

    def not_wanted(self) -> NotWantedCount:
        """Return how many series and instances are not wanted."""
        ((series, instances),) = self._all(
            "SELECT coalesce(sum(number), 0)::bigint, coalesce(sum(instances), 0)::bigint"
            " FROM pacsgrid.counter WHERE project = ANY(%s) AND kind = 'not_wanted'",
            (self._projects,),
        )
        return NotWantedCount(series, instances)

    def content_warnings(self) -> dict[str, int]:
        """Return how many warnings content checks have written, by code."""
        return dict(
            self._all(
                "SELECT key, sum(number)::bigint FROM pacsgrid.counter"
                " WHERE project = ANY(%s) AND kind = 'content_warning'"
                " GROUP BY 1 HAVING sum(number) > 0 ORDER BY 2 DESC, 1",
                (self._projects,),
            )
        )

    def replicas(self) -> list[ReplicaHealth]:
        """Return the health of each resource, by project and zone."""
        rows = self._all(
            "SELECT project, split_part(key, '/', 1), substr(key, strpos(key, '/') + 1),"
            " sum(good)::bigint, sum(bad)::bigint,"
            " coalesce((SELECT sum(number) FROM pacsgrid.counter f WHERE f.project = day.project"
            " AND f.kind = 'failure' AND f.key = day.key), 0)::bigint, min(oldest), max(newest)"
            " FROM (SELECT project, key, at, sum(number) AS good, sum(instances) AS bad,"
            " min(first) AS oldest, max(last) AS newest FROM pacsgrid.counter"
            " WHERE project = ANY(%s) AND kind = 'replica' GROUP BY 1, 2, 3) AS day"
            " WHERE good <> 0 OR bad <> 0 GROUP BY project, key ORDER BY 1, 2, 3",
            (self._projects,),
        )
        return [ReplicaHealth(*row) for row in rows]

    def instances(self) -> dict[str, int]:
        """Return per project how many instances its verified studies have."""
        return dict(
            self._all(
                "SELECT project, sum(instances)::bigint FROM pacsgrid.counter"
                " WHERE project = ANY(%s) AND kind = 'state' AND key = 'verified'"
                " GROUP BY 1 HAVING sum(instances) > 0 ORDER BY 1",
                (self._projects,),
            )
        )

    def throughput(self, hours: int) -> list[HourVolume]:
        """Return what became verified in each of the last hours in which anything did."""
        rows = self._all(
            "SELECT at, sum(number)::bigint, sum(instances)::bigint, sum(bytes)::bigint"
            " FROM pacsgrid.counter WHERE project = ANY(%s) AND kind = 'volume'"
            " AND at > now() - make_interval(hours => %s) GROUP BY 1 ORDER BY 1",
            (self._projects, hours),
        )
        return [HourVolume(*row) for row in rows]

    def studies(
        self,
        state: StudyState | None = None,
        limit: int = 100,
        after: tuple[datetime | int, str] | None = None,
        source: str = "",
        order: StudyOrder = StudyOrder.NEWEST,
    ) -> list[ListedStudy]:
        """Return a page of studies, by default those whose state changed last first.

        Parameters
        ----------
        state
            None for any state.
        limit
            How many at most.
        after
            Change (or size, if sorted by it) and reference of the last study of the page before;
            None for the first page.
        source
            The name of the DICOM source; empty for any.
        order
            How the list is sorted.
        """
        way, beyond = ("DESC", "<") if order.falling else ("ASC", ">")
        place = f"{order.column} {way}, ref {way}"
        # Each project and state is read from its end of the index, and no further than one page.
        rows = self._all(
            f"SELECT {StudyRecord.COLUMNS}, instances, bytes"
            " FROM unnest(%(projects)s::text[]) AS p (name)"
            " CROSS JOIN unnest(%(states)s::text[]) AS t (name) CROSS JOIN LATERAL"
            " (SELECT * FROM pacsgrid.study WHERE project = p.name AND state = t.name"
            + (" AND source = %(source)s" if source else "")
            + (f" AND ({order.column}, ref) {beyond} (%(at)s, %(ref)s)" if after else "")
            + f" ORDER BY {place} LIMIT %(limit)s) AS one ORDER BY {place} LIMIT %(limit)s",
            {
                "projects": self._projects,
                "states": [state.value] if state else [each.value for each in StudyState],
                "limit": limit,
                "source": source,
                "at": after and after[0],
                "ref": after and after[1],
            },
        )
        return [_listed(row) for row in rows]

    def find(self, prefix: str, limit: int = 100) -> list[ListedStudy]:
        """Return the studies whose reference begins with a text, by reference.

        Parameters
        ----------
        prefix
            How the reference begins.
        limit
            How many at most.
        """
        escaped = prefix.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        rows = self._all(
            f"SELECT {StudyRecord.COLUMNS}, instances, bytes FROM pacsgrid.study"
            " WHERE ref LIKE %s AND project = ANY(%s) ORDER BY ref USING ~<~ LIMIT %s",
            (f"{escaped}%", self._projects, limit),
        )
        return [_listed(row) for row in rows]

    def story(self, ref: str) -> Story | None:
        """Return what the ledger knows of a study, all of one state of the ledger.

        None when these projects have no such study.
        """
        with self.snapshot():
            return self._story(ref)

    def _story(self, ref: str) -> Story | None:
        found = self._all(
            f"SELECT {StudyRecord.COLUMNS} FROM pacsgrid.study"
            " WHERE ref = %s AND project = ANY(%s)",
            (ref, self._projects),
        )
        if not found:
            return None
        ((instances, size, study_uid),) = self._all(
            "SELECT instances, bytes, coalesce(study_uid, '') FROM pacsgrid.study WHERE ref = %s",
            (ref,),
        )
        copies = self._all(
            "SELECT zone, count(*) FILTER (WHERE good), count(*) FILTER (WHERE NOT good),"
            " min(verified_at) FROM pacsgrid.proof WHERE ref = %s GROUP BY 1 ORDER BY 1",
            (ref,),
        )
        held = self._all(HELD_OF_STUDY, {"ref": ref})
        trail, series = AuditTrail(self._database), SeriesChoices(self._database)
        return Story(
            study=StudyRecord.of(found[0]),
            instances=instances,
            size=size,
            held=[HeldRecord(*row) for row in held],
            audit=trail.changes(ref),
            copies=[ZoneCopies(*row) for row in copies],
            accesses=trail.accesses(ref),
            decisions=trail.decisions(ref),
            not_wanted=series.not_wanted(ref),
            warnings=series.warnings(ref),
            study_uid=study_uid,
        )


def _listed(row: tuple[Any, ...]) -> ListedStudy:
    *study, instances, size = row
    return ListedStudy(**vars(StudyRecord.of(tuple(study))), instances=instances, size=size)
