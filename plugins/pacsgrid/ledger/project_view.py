"""Base of the read-only views of the ledger, limited to the projects that a user may see."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from pacsgrid.ledger.database import Database, Values


class ProjectView:
    """Read-only queries about some projects.

    Parameters
    ----------
    dsn
        libpq connection string of the ledger.
    projects
        The projects whose studies may be seen; every answer is limited to them.
    """

    def __init__(self, dsn: str, projects: Sequence[str]) -> None:
        self._database = Database(dsn)
        self._projects = list(projects)

    def snapshot(self) -> AbstractContextManager[None]:
        """Let every answer within a ``with`` block be of one state of the ledger."""
        return self._database.snapshot()

    def _all(self, sql: str, values: Values) -> list[Any]:
        with self.snapshot():
            return self._database.all(sql, values)
