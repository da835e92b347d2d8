"""What stewards see of releases to researchers and of withdrawals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pacsgrid.ledger.project_view import ProjectView


@dataclass(frozen=True)
class ReleaseEntry:
    """A version of a release; ``size`` is in bytes.

    What a withdrawn patient had in a version is no longer counted.
    """

    project: str
    name: str
    version: int
    made_at: datetime
    retired_at: datetime | None
    subjects: int
    studies: int
    instances: int
    size: int


@dataclass(frozen=True)
class WithdrawalEntry:
    """A patient's withdrawal; ``waiting`` lists the zones where it is not proven yet."""

    project: str
    subject: str
    asked_at: datetime
    proven_at: datetime | None
    waiting: list[str]


class ReleaseOverview(ProjectView):
    """Releases and withdrawals of some projects, the newest first."""

    def releases(
        self, limit: int | None = None, after: tuple[datetime, str, int] | None = None
    ) -> list[ReleaseEntry]:
        """Return the versions of releases.

        Parameters
        ----------
        limit
            How many at most; None for all.
        after
            Time, name and version of the last one of the page before; None for the first page.
        """
        # Each project is read from its place in the index, and no further than one page.
        beyond = " AND (made_at, name, version) < (%(at)s, %(name)s, %(version)s)" if after else ""
        return [
            ReleaseEntry(*row)
            for row in self._all(
                "SELECT one.project, one.name, version, made_at, retired_at, subjects, studies,"
                " instances, bytes FROM unnest(%(projects)s::text[]) AS p (name)"
                " CROSS JOIN LATERAL (SELECT * FROM pacsgrid.release WHERE project = p.name"
                f"{beyond} ORDER BY made_at DESC, name DESC, version DESC LIMIT %(limit)s) AS one"
                " ORDER BY made_at DESC, one.name DESC, version DESC LIMIT %(limit)s",
                {
                    "projects": self._projects,
                    "limit": limit,
                    "at": after and after[0],
                    "name": after and after[1],
                    "version": after and after[2],
                },
            )
        ]

    def withdrawals(
        self, limit: int | None = None, after: tuple[datetime, str, str] | None = None
    ) -> list[WithdrawalEntry]:
        """Return withdrawals; ``proven_at`` is when the last zone was proven.

        Parameters
        ----------
        limit
            How many at most; None for all.
        after
            Time, project and subject of the last one of the page before; None for the first page.
        """
        return [
            WithdrawalEntry(project, subject, asked, None if waiting else proven, waiting)
            for project, subject, asked, proven, waiting in self._all(
                "SELECT project, subject, min(asked_at), max(proven_at),"
                " coalesce(array_agg(zone ORDER BY zone) FILTER (WHERE proven_at IS NULL),"
                " '{}') FROM pacsgrid.withdrawal WHERE project = ANY(%(projects)s)"
                " GROUP BY project, subject"
                + (
                    " HAVING (min(asked_at), project, subject) < (%(at)s, %(project)s, %(subject)s)"
                    if after
                    else ""
                )
                + " ORDER BY 3 DESC, 1 DESC, 2 DESC LIMIT %(limit)s",
                {
                    "projects": self._projects,
                    "limit": limit,
                    "at": after and after[0],
                    "project": after and after[1],
                    "subject": after and after[2],
                },
            )
        ]
