"""Held items: single files that a study went on without, and the stewards' queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pacsgrid.ledger.codes import REJECTED
from pacsgrid.ledger.database import Database, Store
from pacsgrid.ledger.records import HeldRecord
from pacsgrid.review_model import NO_IMAGE, HeldImage

_STUDY = (
    "SELECT ref, project, source, true AS whole, held_code AS code, held_detail AS detail,"
    " changed_at AS since FROM pacsgrid.study WHERE state = 'held'"
)
_FILE = (
    "SELECT i.ref, i.project, s.source, false, i.code, i.detail, i.since"
    " FROM pacsgrid.held_item i JOIN pacsgrid.study s USING (ref)"
)
HELD_OF_STUDY = (
    f"{_STUDY} AND ref = %(ref)s UNION ALL {_FILE} WHERE i.ref = %(ref)s ORDER BY since, code"
)
"""The columns of `HeldRecord` of one study and its files."""

GROUP = (
    "pacsgrid.held_group_of(s.project, {}, %(code)s, %(manufacturer)s, %(model)s, %(modality)s,"
    " %(sop_class)s, %(description)s, %(rows)s, %(columns)s)"
)
"""The group of what is held, in a statement that reads the study as `s`; fill in `whole`."""

_PAGE = 1000
Place = tuple[datetime, str, str]


@dataclass(frozen=True)
class HeldFilter:
    """What of the queue is wanted, and in which order.

    Attributes
    ----------
    code
        The reason; empty for any.
    whole
        Whole studies only, or single files only; None for both.
    newest
        Whether the newest come first, not the oldest.
    """

    code: str = ""
    whole: bool | None = None
    newest: bool = False


def held_page(
    database: Database,
    projects: Sequence[str],
    limit: int,
    after: Place | None = None,
    wanted: HeldFilter = HeldFilter(),
) -> list[HeldRecord]:
    """Return a page of held studies and held files, by default the oldest first.

    Parameters
    ----------
    database
        The ledger's database.
    projects
        The names of the projects.
    limit
        How many at most; files that were held together with the last one come too.
    after
        Time, reference and code of the last record of the page before; None for the first page.
    wanted
        What of the queue is wanted, and in which order.

    Returns
    -------
    list of HeldRecord
        In order of time, reference and code.
    """
    # Each project is read from its place in the index, and no further than one page.
    way, beyond = ("DESC", "<") if wanted.newest else ("ASC", ">")
    study, file = (
        (" AND held_code = %(code)s", " AND i.code = %(code)s") if wanted.code else ("", "")
    )
    if after:
        study += (
            f" AND changed_at {beyond}= %(at)s"
            f" AND (changed_at, ref, held_code) {beyond} (%(at)s, %(ref)s, %(code_at)s)"
        )
        file += f" AND (i.since, i.ref, i.code) {beyond} (%(at)s, %(ref)s, %(code_at)s)"
    parts = []
    if wanted.whole is not False:
        parts.append(
            f"({_STUDY} AND project = p.name{study}"
            f" ORDER BY changed_at {way}, ref {way} LIMIT %(limit)s)"
        )
    if wanted.whole is not True:
        parts.append(
            f"({_FILE} WHERE i.project = p.name{file} ORDER BY i.since {way}, i.ref {way},"
            f" i.code {way} FETCH FIRST %(limit)s ROWS WITH TIES)"
        )
    rows = database.all(
        "SELECT one.ref, one.project, one.source, one.whole, one.code, one.detail, one.since"
        " FROM unnest(%(projects)s::text[]) AS p (name) CROSS JOIN LATERAL"
        f" ({' UNION ALL '.join(parts)}) AS one"
        " (ref, project, source, whole, code, detail, since)"
        f" ORDER BY since {way}, ref {way}, code {way} FETCH FIRST %(limit)s ROWS WITH TIES",
        {
            "projects": list(projects),
            "limit": limit,
            "code": wanted.code,
            "at": after and after[0],
            "ref": after and after[1],
            "code_at": after and after[2],
        },
    )
    return [HeldRecord(*row) for row in rows]


class HeldItems(Store):
    """Single held files; whole studies are held by `Studies.hold`."""

    def add(
        self,
        ref: str,
        code: str,
        detail: str,
        sha256: str = "",
        image: HeldImage = NO_IMAGE,
    ) -> None:
        """Hold one file of a study that goes on without it; repeating it changes nothing.

        A file that a steward rejected stays rejected.

        Parameters
        ----------
        ref
            The study's reference.
        code
            The reason, as a short code.
        detail
            What is wrong and what to do, without identifying values.
        sha256
            Of the file, in hex.
        image
            What its header tells, by which it is grouped with others.
        """
        self._database.run(
            "INSERT INTO pacsgrid.held_item (ref, code, detail, sha256, series, frames, alike)"
            " SELECT %(ref)s, %(code)s, %(detail)s, %(sha)s, %(series)s, %(frames)s,"
            f" CASE WHEN %(code)s <> %(rejected)s THEN {GROUP.format('false')} END"
            " FROM pacsgrid.study s WHERE ref = %(ref)s AND NOT EXISTS (SELECT FROM"
            " pacsgrid.held_item WHERE ref = %(ref)s AND sha256 = %(sha)s"
            " AND code = %(rejected)s) ON CONFLICT DO NOTHING",
            {
                "ref": ref,
                "code": code,
                "detail": detail,
                "sha": sha256,
                "rejected": REJECTED,
                "series": image.series,
                "frames": image.frames,
                **vars(image.traits),
            },
        )

    def reject(self, ref: str, detail: str) -> None:
        """Mark a study's held files as rejected, so that they are not held again.

        Parameters
        ----------
        ref
            The study's reference.
        detail
            What the steward decided.
        """
        self._database.run(
            "WITH gone AS (DELETE FROM pacsgrid.held_item WHERE ref = %s AND code <> %s"
            " RETURNING sha256) INSERT INTO pacsgrid.held_item (ref, code, detail, sha256)"
            " SELECT DISTINCT %s, %s, %s, sha256 FROM gone ON CONFLICT DO NOTHING",
            (ref, REJECTED, ref, REJECTED, detail),
        )

    def remove(self, ref: str) -> int:
        """Remove a study's held files from the queue; return how many there were."""
        return self._database.run("DELETE FROM pacsgrid.held_item WHERE ref = %s", (ref,))

    def of_study(self, ref: str) -> list[tuple[str, str]]:
        """Return code and SHA-256 of each held file of a study."""
        return self._database.all(
            "SELECT code, sha256 FROM pacsgrid.held_item WHERE ref = %s", (ref,)
        )

    def count_by_code(self, project: str) -> dict[str, int]:
        """Return how many studies and files of a project are held for each reason's code."""
        rows = self._database.all(
            "SELECT code, sum(n)::bigint FROM (SELECT held_code AS code, count(*) AS n"
            " FROM pacsgrid.study WHERE project = %(project)s AND state = 'held' GROUP BY 1"
            " UNION ALL SELECT i.code, count(*) FROM pacsgrid.held_item i"
            " JOIN pacsgrid.study s USING (ref) WHERE s.project = %(project)s GROUP BY 1) held"
            " GROUP BY code ORDER BY code",
            {"project": project},
        )
        return {code: int(count) for code, count in rows}

    def of_studies(self, refs: Sequence[str]) -> list[HeldRecord]:
        """Return what is held of some studies, the oldest first."""
        return [
            HeldRecord(*row)
            for row in self._database.all(
                f"{_STUDY} AND ref = ANY(%(refs)s) UNION ALL {_FILE} WHERE i.ref = ANY(%(refs)s)"
                " ORDER BY since, ref, code",
                {"refs": list(refs)},
            )
        ]

    def queue(self, project: str | None = None) -> list[HeldRecord]:
        """Return held studies and held files, the oldest first; of all projects by default."""
        return list(self.waiting(project))

    def waiting(self, project: str | None = None) -> Iterator[HeldRecord]:
        """Yield held studies and held files page by page, the oldest first.

        Parameters
        ----------
        project
            The project's name; None for all projects.
        """
        projects = [project] if project else self._projects()
        place: Place | None = None
        while True:
            page = held_page(self._database, projects, _PAGE, place)
            yield from page
            if len(page) < _PAGE:
                return
            place = (page[-1].since, page[-1].ref, page[-1].code)

    def _projects(self) -> list[str]:
        rows = self._database.all(
            "SELECT DISTINCT project FROM pacsgrid.counter"
            " WHERE kind IN ('held_study', 'held_file')"
        )
        return [project for (project,) in rows]
