"""Logins through the OpenID Connect provider: who is logged in, and what happened.

The row of a login is its state; what happened to it is append-only. People are named by issuer and
subject, never by name or mail address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store

# What an event is called when somebody is in none of the site's groups any more.
LEFT = "left"


@dataclass(frozen=True)
class Login:
    """A login.

    Attributes
    ----------
    id
        A digest of the browser's secret, or for Airflow's page of the person.
    place
        ``gateway`` or ``page``.
    issuer, subject
        The person at the provider.
    user
        The iRODS user, ``name#zone``; empty for none.
    groups
        The person's groups, of those that the site file names.
    sealed
        The refresh token, sealed by the vault with the login's id.
    made_at, confirmed_at, ends_at
        When it began, when the provider last confirmed it, and when it ends at the latest.
    """

    id: str
    place: str
    issuer: str
    subject: str
    user: str
    groups: list[str]
    sealed: bytes = field(repr=False)
    made_at: datetime
    confirmed_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class LoginMember:
    """A reader of a project in a zone, because of a login."""

    zone: str
    project: str
    user: str
    issuer: str
    subject: str


@dataclass(frozen=True)
class LoginEvent:
    """Something that happened to somebody's login."""

    what: str
    detail: str
    at: datetime


_COLUMNS = "id, place, issuer, subject, user_name, groups, sealed, made_at, confirmed_at, ends_at"


class Logins(Store):
    """Logins; each call that changes one enters what happened, in the same transaction."""

    def begin(self, login: Login) -> None:
        """Enter a login that has just begun; one with its id is replaced.

        Parameters
        ----------
        login
            The login.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                f"INSERT INTO pacsgrid.login ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s,"
                " %s, %s) ON CONFLICT (id) DO UPDATE SET user_name = excluded.user_name,"
                " groups = excluded.groups, sealed = excluded.sealed, made_at = excluded.made_at,"
                " confirmed_at = excluded.confirmed_at, ends_at = excluded.ends_at,"
                " ended_at = NULL",
                (
                    *(login.id, login.place, login.issuer, login.subject, login.user),
                    *(login.groups, login.sealed, login.made_at, login.confirmed_at),
                    login.ends_at,
                ),
            )
            detail = f"{login.place}: {', '.join(login.groups)}"
            _add_event(cursor, login.issuer, login.subject, "logged in", detail)

    def get(self, name: str, now: datetime) -> Login | None:
        """Return a login that lasts; None for one that has ended or never was.

        Parameters
        ----------
        name
            The login's id.
        now
            The current time.
        """
        found = self._find("id = %s AND ends_at > %s AND ended_at IS NULL", (name, now))
        return found[0] if found else None

    def live(self, now: datetime) -> list[Login]:
        """Return the logins that last, the longest unconfirmed first."""
        return self._find("ends_at > %s AND ended_at IS NULL ORDER BY confirmed_at, id", (now,))

    def confirm(self, login: Login, groups: Sequence[str], sealed: bytes, now: datetime) -> None:
        """Enter that the provider confirmed a login, with the groups that it told.

        Parameters
        ----------
        login
            The login as it was.
        groups
            The groups now.
        sealed
            The refresh token, which may be a new one.
        now
            The current time.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.login SET groups = %s, sealed = %s, confirmed_at = %s"
                " WHERE id = %s AND ended_at IS NULL",
                (list(groups), sealed, now, login.id),
            )
            if cursor.rowcount and set(groups) != set(login.groups):
                changes = [f"+{one}" for one in sorted(set(groups) - set(login.groups))]
                changes += [f"-{one}" for one in sorted(set(login.groups) - set(groups))]
                _add_event(cursor, login.issuer, login.subject, "groups", ", ".join(changes))

    def end(self, login: Login, what: str, detail: str, now: datetime) -> bool:
        """End a login.

        Parameters
        ----------
        login
            The login.
        what
            What the event is called: ``logged out``, ``ended`` or `LEFT`.
        detail
            Why.
        now
            The current time.

        Returns
        -------
        bool
            Whether it lasted until now.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.login SET ended_at = %s, sealed = '' WHERE id = %s"
                " AND ended_at IS NULL",
                (now, login.id),
            )
            if not cursor.rowcount:
                return False
            _add_event(cursor, login.issuer, login.subject, what, f"{login.place}: {detail}")
        return True

    def end_of(self, issuer: str, subject: str, detail: str, now: datetime) -> None:
        """End every login of somebody who left, and enter that they did.

        Parameters
        ----------
        issuer, subject
            The person.
        detail
            Why.
        now
            The current time.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.login SET ended_at = %s, sealed = '' WHERE issuer = %s"
                " AND subject = %s AND ended_at IS NULL",
                (now, issuer, subject),
            )
            _add_event(cursor, issuer, subject, LEFT, detail)

    def left_at(self, issuer: str, subject: str) -> datetime | None:
        """Return when somebody was last seen to have left; None for never.

        Parameters
        ----------
        issuer, subject
            The person.
        """
        rows = self._database.all(
            "SELECT max(at) FROM pacsgrid.login_event WHERE issuer = %s AND subject = %s"
            " AND what = %s",
            (issuer, subject, LEFT),
        )
        at: datetime | None = rows[0][0]
        return at

    def end_over(self, now: datetime) -> int:
        """End the logins whose time is over, and drop their refresh tokens; return how many."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.login SET ended_at = %s, sealed = '' WHERE ended_at IS NULL"
                " AND ends_at <= %s RETURNING issuer, subject, place",
                (now, now),
            )
            rows = cursor.fetchall()
            for issuer, subject, place in rows:
                _add_event(cursor, issuer, subject, "ended", f"{place}: its time is over")
        return len(rows)

    def forget_over(self, before: datetime) -> int:
        """Remove logins whose time was over before a time; return how many.

        What happened to them stays.
        """
        return self._database.run("DELETE FROM pacsgrid.login WHERE ends_at < %s", (before,))

    def note(self, issuer: str, subject: str, what: str, detail: str) -> None:
        """Enter something that happened.

        Parameters
        ----------
        issuer, subject
            The person.
        what
            What the event is called.
        detail
            More about it.
        """
        with self._database.transaction() as cursor:
            _add_event(cursor, issuer, subject, what, detail)

    def events(self, issuer: str, subject: str) -> list[LoginEvent]:
        """Return what happened to somebody's logins, the oldest first.

        Parameters
        ----------
        issuer, subject
            The person.
        """
        rows = self._database.all(
            "SELECT what, detail, at FROM pacsgrid.login_event WHERE issuer = %s AND subject = %s"
            " ORDER BY id",
            (issuer, subject),
        )
        return [LoginEvent(*row) for row in rows]

    def members(self) -> list[LoginMember]:
        """Return the readers whom logins made."""
        rows = self._database.all(
            "SELECT zone, project, user_name, issuer, subject FROM pacsgrid.login_member"
            " ORDER BY 1, 2, 3"
        )
        return [LoginMember(*row) for row in rows]

    def add_member(self, member: LoginMember) -> None:
        """Enter that somebody is about to become a reader."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.login_member VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (member.zone, member.project, member.user, member.issuer, member.subject),
            )
            if cursor.rowcount:
                detail = f"{member.user} reads {member.project} in {member.zone}"
                _add_event(cursor, member.issuer, member.subject, "reader", detail)

    def remove_member(self, member: LoginMember) -> None:
        """Enter that somebody is no reader any more."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM pacsgrid.login_member WHERE zone = %s AND project = %s"
                " AND user_name = %s AND issuer = %s AND subject = %s",
                (member.zone, member.project, member.user, member.issuer, member.subject),
            )
            if cursor.rowcount:
                detail = f"{member.user} no longer reads {member.project} in {member.zone}"
                _add_event(cursor, member.issuer, member.subject, "no reader", detail)

    def _find(self, where: str, values: Sequence[object]) -> list[Login]:
        rows = self._database.all(f"SELECT {_COLUMNS} FROM pacsgrid.login WHERE {where}", values)
        return [_login(row) for row in rows]


def _login(row: Sequence[Any]) -> Login:
    values = list(row)
    values[6] = bytes(values[6])
    return Login(*values)


def _add_event(cursor: Cursor, issuer: str, subject: str, what: str, detail: str) -> None:
    cursor.execute(
        "INSERT INTO pacsgrid.login_event (issuer, subject, what, detail) VALUES (%s, %s, %s, %s)",
        (issuer, subject, what, detail),
    )
