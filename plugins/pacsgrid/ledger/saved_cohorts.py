"""Cohorts that were saved by name; earlier versions stay, and say who saved them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.database import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class SavedCohort:
    """A cohort that was saved.

    Attributes
    ----------
    name
        Its name in the project.
    criteria
        Queries, every one of which a series must match.
    excluded
        UIDs of series that are left out.
    matching
        Whether it has the matching series only, and not the whole studies.
    who, at
        Who saved it, and when.
    """

    name: str
    criteria: tuple[str, ...]
    excluded: tuple[str, ...]
    matching: bool
    who: str
    at: datetime


class SavedCohorts(Store):
    """Saved cohorts of the projects."""

    def save(
        self,
        project: str,
        name: str,
        criteria: Sequence[str],
        excluded: Sequence[str],
        matching: bool,
        who: str,
    ) -> None:
        """Save a cohort; one of the same name is replaced.

        Parameters
        ----------
        project, name
            The project, and the cohort's name in it.
        criteria
            Queries, every one of which a series must match.
        excluded
            UIDs of series that are left out.
        matching
            Whether it has the matching series only, and not the whole studies.
        who
            Who saves it.

        Raises
        ------
        ConfigError
            The name is not allowed.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no name of a cohort; use letters, digits, '.', '-', '_'"
            )
        self._database.run(
            "INSERT INTO pacsgrid.saved_cohort (project, name, criteria, excluded, matching, who)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (project, name, list(criteria), sorted(set(excluded)), matching, who),
        )

    def remove(self, project: str, name: str, who: str) -> None:
        """Take a name off the list.

        Parameters
        ----------
        project, name
            The project, and the cohort's name in it.
        who
            Who removes it.
        """
        self._database.run(
            "INSERT INTO pacsgrid.saved_cohort (project, name, criteria, excluded, matching,"
            " removed, who) VALUES (%s, %s, '{}', '{}', false, true, %s)",
            (project, name, who),
        )

    def get(self, project: str, name: str) -> SavedCohort:
        """Return a saved cohort.

        Parameters
        ----------
        project, name
            The project, and the cohort's name in it.

        Raises
        ------
        ConfigError
            There is none of this name.
        """
        for one in self.of_project(project):
            if one.name == name:
                return one
        raise ConfigError(f"project {project} has no saved cohort {name!r}; list them on the page")

    def of_project(self, project: str) -> list[SavedCohort]:
        """Return the saved cohorts of a project, by name."""
        rows = self._database.all(
            "SELECT name, criteria, excluded, matching, who, at FROM ("
            "SELECT DISTINCT ON (name) * FROM pacsgrid.saved_cohort WHERE project = %s"
            " ORDER BY name, id DESC) AS last WHERE NOT removed",
            (project,),
        )
        return [SavedCohort(r[0], tuple(r[1]), tuple(r[2]), *r[3:]) for r in rows]
