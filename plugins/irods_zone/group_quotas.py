"""Quotas of groups: set, and compared with what the members' files take up.

As on the real server they are advice unless a policy enforces them; there is none here.
"""

from __future__ import annotations

from typing import Any

from .catalog import timestamp
from .error_codes import ErrorCode
from .errors import IrodsError
from .session import Session
from .user_administration import require_group


def set_quota(session: Session, db: Any, kind: str, name: str, resource: str, amount: str) -> None:
    """Set the bytes a group may hold on a resource, or ``total``; 0 takes the quota away."""
    if kind != "group":
        raise IrodsError(
            ErrorCode.CAT_INVALID_ARGUMENT, kind
        )  # quotas of single users ended with iRODS 4.3
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
        _compare(db)


def calculate_usage(db: Any) -> None:
    """Sum up what each user owns on each resource, and compare with the quotas."""
    db.execute("DELETE FROM quota_usage")
    db.execute(
        "INSERT INTO quota_usage SELECT u.id, d.resc_id, sum(d.size), ? FROM data d"
        " JOIN user u ON u.name=d.owner AND u.zone=d.ozone GROUP BY u.id, d.resc_id", (timestamp(),),
    )  # fmt: skip
    _compare(db)


def _compare(db: Any) -> None:
    db.execute(
        "UPDATE quota SET mtime=?, over=coalesce((SELECT sum(q.usage) FROM quota_usage q"
        " JOIN member m ON m.user_id=q.user_id WHERE m.group_id=quota.user_id"
        " AND (quota.resc_id=0 OR quota.resc_id=q.resc_id)), 0)-lim", (timestamp(),),
    )  # fmt: skip
