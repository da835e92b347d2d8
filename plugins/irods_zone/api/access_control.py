"""Rights: given, taken and passed on."""

from __future__ import annotations

from ..access_control import DESCENDANTS, access_level, require_owner, set_access, user_or_group_id
from ..api_messages import Reply, Request, json_body, json_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import LEVELS, canonical_path
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..namespace import descendant_range
from ..session import Session


@handles(Api.MOD_ACCESS_CONTROL_AN)
def _mod_access_control(session: Session, request: Request) -> Reply:
    """Give or take a right, or have a collection pass its rights on; recursively if asked."""
    word = request.node.get("accessLevel")
    path, recursive = (
        canonical_path(request.node.get("path")),
        bool(request.node.number("recursiveFlag")),
    )
    if word.startswith("admin:"):
        session.elevate()
    oid, is_coll = require_owner(session, path)
    word, bounds = word.removeprefix("admin:"), (path, *descendant_range(path))
    with session.catalog.transaction(durable=True) as db:
        if word in ("inherit", "noinherit"):
            if not is_coll:
                raise IrodsError(ErrorCode.CAT_UNKNOWN_COLLECTION, path)
            where = "name=?1 OR (name>=?2 AND name<?3)" if recursive else "name=?1"
            args = bounds if recursive else bounds[:1]
            db.execute(f"UPDATE coll SET inherit={int(word == 'inherit')} WHERE {where}", args)
            return Reply()
        level, user = (
            access_level(word),
            user_or_group_id(session, request.node.get("userName"), request.node.get("zone")),
        )
        if recursive and is_coll:
            db.executemany(
                "DELETE FROM access WHERE object_id=? AND user_id=?",
                [(row["id"], user) for row in db.execute(DESCENDANTS, bounds).fetchall()],
            )
            if level > LEVELS["null"]:
                db.execute(f"INSERT INTO access SELECT id, ?4, ?5 FROM ({DESCENDANTS})",
                           (*bounds, user, level))  # fmt: skip
        else:
            set_access(db, oid, user, level)
    return Reply()


@handles(Api.ATOMIC_APPLY_ACL_OPERATIONS_APN)
def _atomic_apply_acl_operations(session: Session, request: Request) -> Reply:
    """Several rights on one object or collection, all or none."""
    data = request.json()
    try:
        path = canonical_path(str(data.get("logical_path", "")))
        if data.get("admin_mode"):
            session.elevate()
        oid, _ = require_owner(session, path)
    except IrodsError as e:
        raise _operation_error(e.code, "User not allowed to modify ACLs") from None
    with session.catalog.transaction(durable=True) as db:
        for number, op in enumerate(data.get("operations") or []):
            try:
                user = user_or_group_id(session, str(op["entity_name"]), str(op.get("zone") or ""))
                set_access(db, oid, user, access_level(str(op["acl"])))
            except (KeyError, TypeError):
                raise _operation_error(
                    ErrorCode.SYS_INTERNAL_ERR, "Operation is not complete.", op, number
                ) from None
            except IrodsError as e:
                raise _operation_error(e.code, f"Not possible: {e.message}", op, number) from None
    return json_reply({})


def _operation_error(
    code: int, message: str, operation: object = None, number: int = 0
) -> IrodsError:
    """An error that says in JSON which operation failed and why."""
    note = {"operation": operation or {}, "operation_index": number, "error_message": message}
    return IrodsError(code, message, body=json_body(note))
