"""Quotas of groups: set, and compared with what their members use.

As on a real server without a quota policy they are not enforced.
"""

from __future__ import annotations

import sqlite3

from .catalog import timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session
from .user_administration import require_group


def set_quota(
    session: Session, db: sqlite3.Connection, kind: str, name: str, resource: str, amount: str
) -> None:
    """Set the quota of a group on a resource.

    Parameters
    ----------
    session : Session
        The client's connection.
    db : sqlite3.Connection
        The open transaction.
    kind : str
        ``group``; single users have no quotas.
    name : str
        The group.
    resource : str
        The resource, or ``total``.
    amount : str
        Bytes; 0 removes the quota.

    Raises
    ------
    IrodsError
        An argument is wrong.
    """
    if kind != "group":
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, kind)  # as since iRODS 4.3
    if not amount.isdigit():
        raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, f"quota {amount}")
    group = require_group(session, name)
    resc_id = 0 if resource == "total" else int(session.catalog.resource(resource)["id"])
    db.execute("DELETE FROM quota WHERE user_id=? AND resc_id=?", (group["id"], resc_id))
    if int(amount):
        db.execute(
            "INSERT INTO quota VALUES(?,?,?,?,?)",
            (group["id"], resc_id, int(amount), 0, timestamp()),
        )
        _compare_with_usage(db)


def calculate_usage(db: sqlite3.Connection) -> None:
    """Sum up what each user owns on each resource and compare it with the quotas."""
    db.execute("DELETE FROM quota_usage")
    db.execute(
        "INSERT INTO quota_usage SELECT u.id, d.resc_id, sum(d.size), ? FROM data d"
        " JOIN user u ON u.name=d.owner AND u.zone=d.ozone GROUP BY u.id, d.resc_id",
        (timestamp(),),
    )  # fmt: skip
    _compare_with_usage(db)


def _compare_with_usage(db: sqlite3.Connection) -> None:
    """Note by how much each group is over its quotas."""
    db.execute(
        "UPDATE quota SET mtime=?, over=coalesce((SELECT sum(q.usage) FROM quota_usage q"
        " JOIN member m ON m.user_id=q.user_id WHERE m.group_id=quota.user_id"
        " AND (quota.resc_id=0 OR quota.resc_id=q.resc_id)), 0)-lim", (timestamp(),),
    )  # fmt: skip
