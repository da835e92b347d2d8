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

    def releases(self) -> list[ReleaseEntry]:
        """Return every version of every release."""
        return [
            ReleaseEntry(*row)
            for row in self._all(
                "SELECT r.project, r.name, r.version, r.made_at, r.retired_at,"
                " count(DISTINCT i.subject), count(i.ref),"
                " coalesce(sum(i.instances), 0)::bigint,"
                " coalesce(sum(i.bytes), 0)::bigint FROM pacsgrid.release r"
                " LEFT JOIN pacsgrid.release_study s USING (project, name, version)"
                " LEFT JOIN pacsgrid.study i ON i.ref = s.ref AND i.instances > 0"
                " WHERE r.project = ANY(%s) GROUP BY r.project, r.name, r.version"
                " ORDER BY r.made_at DESC, r.name, r.version DESC",
                (self._projects,),
            )
        ]

    def withdrawals(self) -> list[WithdrawalEntry]:
        """Return every withdrawal; ``proven_at`` is when the last zone was proven."""
        return [
            WithdrawalEntry(project, subject, asked, None if waiting else proven, waiting)
            for project, subject, asked, proven, waiting in self._all(
                "SELECT project, subject, min(asked_at), max(proven_at),"
                " coalesce(array_agg(zone ORDER BY zone) FILTER (WHERE proven_at IS NULL),"
                " '{}') FROM pacsgrid.withdrawal WHERE project = ANY(%s)"
                " GROUP BY project, subject ORDER BY 3 DESC, 1, 2",
                (self._projects,),
            )
        ]
