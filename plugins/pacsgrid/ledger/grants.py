"""Researchers' access to releases: asked for, granted until a time or refused, and ended.

The row of a grant is its state; what happened to it is append-only.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store


class GrantState(StrEnum):
    """The states of a grant."""

    REQUESTED = "requested"
    GRANTED = "granted"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True)
class Grant:
    """A researcher's access to a version of a release.

    Attributes
    ----------
    id
        ``gr-`` and 20 hex digits.
    researcher
        The iRODS user, ``name#zone``.
    purpose
        What the researcher needs the images for.
    wanted_until, until
        Until when access was asked for, and granted; `until` is None before that.
    rights
        What the home zone has of it: ``none``, ``setting`` while there may be some, or ``set``.
    """

    id: str
    project: str
    release: str
    version: int
    researcher: str
    purpose: str
    state: GrantState
    wanted_until: datetime
    until: datetime | None
    rights: str
    made_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Return the grant of a row of its columns."""
        values = list(row)
        values[6] = GrantState(values[6])
        return cls(*values)

    def state_at(self, now: datetime) -> GrantState:
        """Return the state by the clock: a grant has ended when its time is over."""
        if self.state is GrantState.GRANTED and self.until is not None and self.until <= now:
            return GrantState.ENDED
        return self.state


@dataclass(frozen=True)
class GrantEvent:
    """Something that happened to a grant; ``until`` is the end that was set, if any."""

    what: str
    who: str
    reason: str
    until: datetime | None
    at: datetime


_COLUMNS = (
    "id, project, release, version, researcher, purpose, state, wanted_until, until, rights,"
    " made_at, changed_at"
)


class Grants(Store):
    """Grants; each call that changes one enters what happened, in the same transaction."""

    def ask(
        self,
        project: str,
        release: str,
        version: int,
        researcher: str,
        purpose: str,
        wanted_until: datetime,
    ) -> str:
        """Return the id of a researcher's new request.

        Parameters
        ----------
        project, release, version
            The version of a release.
        researcher
            The iRODS user, ``name#zone``.
        purpose
            What the images are needed for.
        wanted_until
            Until when.

        Raises
        ------
        ConfigError
            There is no such version that can be fetched, or the researcher has a request for it
            that is not answered.
        """
        with self._database.transaction() as cursor:
            # Two requests at once would both find none that is open.
            cursor.execute(
                "SELECT 1 FROM pacsgrid.release WHERE project = %s AND name = %s AND version = %s"
                " AND retired_at IS NULL FOR UPDATE",
                (project, release, version),
            )
            if cursor.fetchone() is None:
                raise ConfigError(f"there is no release {release}/v{version} of {project}")
            cursor.execute(
                "SELECT 1 FROM pacsgrid.read_grant WHERE researcher = %s AND project = %s"
                " AND release = %s AND version = %s AND state = 'requested'",
                (researcher, project, release, version),
            )
            if cursor.fetchone() is not None:
                raise ConfigError(
                    f"{release}/v{version} was asked for already; a steward will answer"
                )
            name = f"gr-{secrets.token_hex(10)}"
            cursor.execute(
                "INSERT INTO pacsgrid.read_grant (id, project, release, version, researcher,"
                " purpose, state, wanted_until) VALUES (%s, %s, %s, %s, %s, %s, 'requested', %s)",
                (name, project, release, version, researcher, purpose, wanted_until),
            )
            _add_event(cursor, name, "requested", researcher, purpose, wanted_until)
        return name

    def get(self, name: str) -> Grant | None:
        """Return a grant; None for an unknown id."""
        found = self._find("id = %s", (name,))
        return found[0] if found else None

    def of_projects(
        self, projects: Sequence[str], limit: int = 200, after: tuple[datetime, str] | None = None
    ) -> list[Grant]:
        """Return a page of grants, the newest request first.

        Parameters
        ----------
        projects
            The names of the projects.
        limit
            How many at most.
        after
            Time of the request and id of the last grant of the page before; None for the first.
        """
        where, values = "project = ANY(%s)", [list(projects)]
        if after:
            where += " AND (made_at, id) < (%s, %s)"
            values += after  # type: ignore[arg-type]
        return self._find(f"{where} ORDER BY made_at DESC, id DESC LIMIT {int(limit)}", values)

    def of_researcher(self, researcher: str) -> list[Grant]:
        """Return the grants of a researcher, the newest request first."""
        return self._find("researcher = %s ORDER BY made_at DESC, id DESC", (researcher,))

    def unsettled(self, project: str, now: datetime) -> list[Grant]:
        """Return the grants whose rights do not follow their state: to set, or to take away.

        Parameters
        ----------
        project
            The project's name.
        now
            The current time.
        """
        return self._find(
            "project = %s AND ((state = 'granted' AND (until <= %s OR rights <> 'set'))"
            " OR (state <> 'granted' AND rights <> 'none')) ORDER BY made_at, id",
            (project, now),
        )

    def of_version(self, project: str, release: str, version: int) -> list[Grant]:
        """Return the grants of a version that are requested or granted, the oldest first.

        Parameters
        ----------
        project, release, version
            The version of a release.
        """
        return self._find(
            "project = %s AND release = %s AND version = %s"
            " AND state IN ('requested', 'granted') ORDER BY made_at, id",
            (project, release, version),
        )

    def events(self, name: str) -> list[GrantEvent]:
        """Return what happened to a grant, the oldest first."""
        return self.events_of([name]).get(name, [])

    def events_of(self, names: Sequence[str]) -> dict[str, list[GrantEvent]]:
        """Return what happened to each of some grants, the oldest first."""
        rows = self._database.all(
            "SELECT grant_id, what, who, reason, until, at FROM pacsgrid.read_grant_event"
            " WHERE grant_id = ANY(%s) ORDER BY id",
            (list(names),),
        )
        found: dict[str, list[GrantEvent]] = {}
        for name, *row in rows:
            found.setdefault(name, []).append(GrantEvent(*row))
        return found

    def approve(self, name: str, until: datetime, who: str, reason: str) -> None:
        """Grant a request until a time, or give a grant another end.

        Parameters
        ----------
        name
            The grant's id.
        until
            When it ends.
        who
            The steward.
        reason
            Why.

        Raises
        ------
        ConfigError
            It was refused or has ended.
        """
        self._change(name, ("requested", "granted"), "granted", who, reason, until)

    def refuse(self, name: str, who: str, reason: str) -> None:
        """Refuse a request; raise ConfigError if it was answered.

        Parameters
        ----------
        name
            The grant's id.
        who
            The steward.
        reason
            Why.
        """
        self._change(name, ("requested",), "refused", who, reason)

    def end(self, name: str, who: str, reason: str) -> None:
        """End a grant, or take a request back; raise ConfigError if it has ended.

        Parameters
        ----------
        name
            The grant's id.
        who
            The steward or researcher, or what ended it.
        reason
            Why.
        """
        self._change(name, ("requested", "granted"), "ended", who, reason)

    def set_rights(self, name: str, rights: str, who: str) -> None:
        """Enter what the home zone has of a grant.

        Parameters
        ----------
        name
            The grant's id.
        rights
            ``setting`` before the first right is set, ``set`` after the last; ``none`` after all
            are taken away.
        who
            Who sets them.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.read_grant SET rights = %s WHERE id = %s AND rights <> %s",
                (rights, name, rights),
            )
            if cursor.rowcount and rights != "setting":
                what = "rights set" if rights == "set" else "rights removed"
                _add_event(cursor, name, what, who, "", None)

    def move(self, name: str, version: int, who: str) -> None:
        """Move a grant to the version that replaces its own after a withdrawal.

        Its rights are to be set anew.

        Parameters
        ----------
        name
            The grant's id.
        version
            The new version's number.
        who
            Who moves it.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.read_grant SET version = %s, changed_at = now(), rights ="
                " CASE rights WHEN 'none' THEN 'none' ELSE 'setting' END WHERE id = %s",
                (version, name),
            )
            _add_event(cursor, name, "moved", who, f"to v{version}", None)

    def _change(
        self,
        name: str,
        before: Sequence[str],
        to: str,
        who: str,
        reason: str,
        until: datetime | None = None,
    ) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.read_grant SET state = %s, until = coalesce(%s, until),"
                " rights = CASE rights WHEN 'none' THEN 'none' ELSE 'setting' END,"
                " changed_at = now() WHERE id = %s AND state = ANY(%s)",
                (to, until, name, list(before)),
            )
            if not cursor.rowcount:
                raise ConfigError("the request was answered or has ended; look at it again")
            _add_event(cursor, name, to, who, reason, until)

    def _find(self, where: str, values: Sequence[object]) -> list[Grant]:
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM pacsgrid.read_grant WHERE {where}", values
        )
        return [Grant.of(row) for row in rows]


def _add_event(
    cursor: Cursor, name: str, what: str, who: str, reason: str, until: datetime | None
) -> None:
    cursor.execute(
        "INSERT INTO pacsgrid.read_grant_event (grant_id, what, who, reason, until)"
        " VALUES (%s, %s, %s, %s, %s)",
        (name, what, who, reason, until),
    )
