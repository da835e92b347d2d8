"""What waits for a steward, in groups of what is alike, as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pacsgrid.ledger.project_view import ProjectView
from pacsgrid.review_model import APPROVABLE, BLANKABLE, ImageTraits

_GROUP = (
    "g.id, g.project, g.whole, g.code, g.manufacturer, g.model, g.modality, g.sop_class,"
    " g.description, g.image_rows, g.image_columns"
)
# Groups have as many rows of counts as there are changes since these were added up.
_WAITING = (
    "(SELECT key, sum(number)::bigint AS number FROM pacsgrid.counter WHERE project = ANY(%(in)s)"
    " AND kind = 'held_alike' GROUP BY key HAVING sum(number) > 0) w"
)


@dataclass(frozen=True)
class HeldGroup:
    """Held files, or held studies, that are alike.

    Attributes
    ----------
    id
        The group's name.
    whole
        Whether these are studies held as a whole.
    code
        Why they are held.
    count
        How many wait.
    oldest
        Since when the first one waits.
    ref, sha256
        The one that waits longest: its study, and its file.
    may_approve, may_blank
        Whether this reason may be approved, or be removed by blanking.
    """

    id: str
    project: str
    whole: bool
    code: str
    traits: ImageTraits
    count: int
    oldest: datetime | None
    ref: str
    sha256: str
    may_approve: bool
    may_blank: bool


@dataclass(frozen=True)
class HeldFile:
    """One held file or study of a group; `sha256` is empty for a study."""

    ref: str
    sha256: str
    code: str
    detail: str
    source: str
    frames: int
    since: datetime


@dataclass(frozen=True)
class HeldFileDetails:
    """One held file with the traits of its group."""

    file: HeldFile
    project: str
    group: str
    series: str
    traits: ImageTraits


class HeldGroups(ProjectView):
    """What waits for a steward in some projects."""

    def page(
        self,
        limit: int = 60,
        after: tuple[int, str] | None = None,
        code: str = "",
        modality: str = "",
        words: str = "",
    ) -> list[HeldGroup]:
        """Return a page of groups, the largest first.

        Parameters
        ----------
        limit
            How many at most.
        after
            Count and id of the last group of the page before; None for the first page.
        code, modality
            Only groups of this reason and modality; empty for all.
        words
            Only groups whose device or description contains this; empty for all.
        """
        rows = self._all(
            f"SELECT {_GROUP}, p.number, o.since, o.ref, o.sha256 FROM"
            f" (SELECT g.*, w.number FROM {_WAITING} JOIN pacsgrid.held_group g ON g.id = w.key"
            " WHERE (%(code)s = '' OR g.code = %(code)s)"
            " AND (%(modality)s = '' OR g.modality = %(modality)s)"
            " AND (%(words)s = '' OR position(lower(%(words)s) IN lower(concat_ws(' ',"
            " g.manufacturer, g.model, g.description))) > 0)"
            + (" AND (w.number, g.id) < (%(count)s, %(id)s)" if after else "")
            + " ORDER BY w.number DESC, g.id DESC LIMIT %(limit)s) p"
            " JOIN pacsgrid.held_group g ON g.id = p.id LEFT JOIN LATERAL"
            " ((SELECT i.since, i.ref, i.sha256 FROM pacsgrid.held_item i WHERE i.alike = g.id"
            " AND i.decision IS NULL ORDER BY i.since, i.ref, i.sha256 LIMIT 1) UNION ALL"
            " (SELECT s.changed_at, s.ref, '' FROM pacsgrid.study s WHERE s.held_alike = g.id"
            " AND s.held_decision IS NULL ORDER BY s.changed_at, s.ref LIMIT 1) LIMIT 1) o ON true"
            " ORDER BY p.number DESC, g.id DESC",
            {
                "in": self._projects,
                "limit": limit,
                "count": after and after[0],
                "id": after and after[1],
                "code": code,
                "modality": modality,
                "words": words,
            },
        )
        return [_group(row) for row in rows]

    def like(self, group: HeldGroup) -> list[HeldGroup]:
        """Return the other groups of files of the same device, kind and size that wait.

        Parameters
        ----------
        group
            The group that something was decided about.
        """
        wanted = replace(group.traits, description="")
        device = wanted.model or wanted.manufacturer
        return [
            other
            for other in self.page(200, modality=wanted.modality, words=device)
            if other.project == group.project
            and not other.whole
            and other.id != group.id
            and wanted.matches(other.traits)
        ]

    def get(self, group: str) -> HeldGroup | None:
        """Return one group; None if these projects have none of this name, or nothing waits."""
        rows = self._all(
            f"SELECT {_GROUP}, coalesce((SELECT sum(number)::bigint FROM pacsgrid.counter c"
            " WHERE c.project = g.project AND c.kind = 'held_alike' AND c.key = g.id), 0),"
            " NULL, '', '' FROM pacsgrid.held_group g"
            " WHERE g.id = %s AND g.project = ANY(%s)",
            (group, self._projects),
        )
        return _group(rows[0]) if rows else None

    def count_decided(self) -> dict[str, int]:
        """Return by project how many files and studies are decided and not carried out yet.

        What waits for a second steward is not among them.
        """
        rows = self._all(
            "SELECT r.project, count(*) FROM (SELECT decision FROM pacsgrid.held_item"
            " WHERE decision IS NOT NULL AND project = ANY(%(in)s) UNION ALL SELECT held_decision"
            " FROM pacsgrid.study WHERE held_decision IS NOT NULL AND project = ANY(%(in)s)) d"
            " JOIN pacsgrid.review r ON r.id = d.decision LEFT JOIN pacsgrid.review_second s"
            " ON s.review = r.id WHERE NOT r.needs_second OR s.agrees GROUP BY 1 ORDER BY 1",
            {"in": self._projects},
        )
        return dict(rows)

    def files(
        self, group: str, limit: int = 60, after: tuple[datetime, str, str] | None = None
    ) -> list[HeldFile]:
        """Return a page of what waits in a group, the oldest first.

        Parameters
        ----------
        group
            The group's name.
        limit
            How many at most.
        after
            Time, study and SHA-256 of the last one of the page before; None for the first page.
        """
        values = {
            "group": group,
            "in": self._projects,
            "limit": limit,
            "at": after and after[0],
            "ref": after and after[1],
            "sha": after and after[2],
        }
        file = " AND (i.since, i.ref, i.sha256) > (%(at)s, %(ref)s, %(sha)s)" if after else ""
        study = " AND (s.changed_at, s.ref) > (%(at)s, %(ref)s)" if after else ""
        rows = self._all(
            "(SELECT p.ref, p.sha256, p.code, p.detail, s.source, p.frames, p.since"
            " FROM (SELECT i.* FROM pacsgrid.held_item i WHERE i.alike = %(group)s"
            f" AND i.decision IS NULL AND i.project = ANY(%(in)s){file}"
            " ORDER BY i.since, i.ref, i.sha256 LIMIT %(limit)s) p"
            " JOIN pacsgrid.study s USING (ref)) UNION ALL"
            " (SELECT s.ref, '', s.held_code, s.held_detail, s.source, 0, s.changed_at"
            " FROM pacsgrid.study s WHERE s.held_alike = %(group)s AND s.held_decision IS NULL"
            f" AND s.project = ANY(%(in)s){study} ORDER BY s.changed_at, s.ref LIMIT %(limit)s)"
            " ORDER BY 7, 1, 2",
            values,
        )
        return [HeldFile(*row) for row in rows[:limit]]

    def file(self, ref: str, sha256: str) -> HeldFileDetails | None:
        """Return one held file; None if these projects hold none with this SHA-256.

        Parameters
        ----------
        ref
            The study's reference.
        sha256
            The file's SHA-256 in hex.
        """
        rows = self._all(
            "SELECT i.ref, i.sha256, i.code, i.detail, s.source, i.frames, i.since, i.project,"
            " g.id, i.series, g.manufacturer, g.model, g.modality, g.sop_class, g.description,"
            " g.image_rows, g.image_columns FROM pacsgrid.held_item i JOIN pacsgrid.study s"
            " USING (ref) JOIN pacsgrid.held_group g ON g.id = i.alike"
            " WHERE i.ref = %s AND i.sha256 = %s AND i.project = ANY(%s) ORDER BY i.code LIMIT 1",
            (ref, sha256, self._projects),
        )
        if not rows:
            return None
        row = rows[0]
        return HeldFileDetails(HeldFile(*row[:7]), row[7], row[8], row[9], ImageTraits(*row[10:]))


def _group(row: tuple[object, ...]) -> HeldGroup:
    name, project, whole, code, *rest = row
    traits, (count, oldest, ref, sha256) = ImageTraits(*rest[:7]), rest[7:]  # type: ignore[arg-type]
    return HeldGroup(
        str(name),
        str(project),
        bool(whole),
        str(code),
        traits,
        int(str(count)),
        oldest,  # type: ignore[arg-type]
        str(ref or ""),
        str(sha256 or ""),
        not whole and code in APPROVABLE,
        not whole and code in BLANKABLE and bool(traits.rows and traits.columns),
    )
