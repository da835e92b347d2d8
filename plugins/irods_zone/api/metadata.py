"""Metadata: AVUs of data objects, collections, resources and users."""

from __future__ import annotations

from ..api_messages import Reply, Request, json_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import READ, WRITE, timestamp
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..metadata import ENTITY_TYPES, add_avu, add_avu_to_matching, entity_id, remove_avus, set_avu
from ..session import Session


@handles(Api.MOD_AVU_METADATA_AN)
def _mod_avu_metadata(session: Session, request: Request) -> Reply:
    """Single AVU operations."""
    a = [request.node.get(f"arg{i}") for i in range(10)]
    op, kind = a[0], ENTITY_TYPES.get(a[1])
    if kind is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"type {a[1]}")
    if op == "cp":
        other = ENTITY_TYPES.get(a[2])
        if other is None:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"type {a[2]}")
        source = entity_id(session, kind, a[3], READ)
        target = entity_id(session, other, a[4], WRITE)
        with session.catalog.transaction(durable=True) as db:
            db.execute(
                "INSERT OR IGNORE INTO objt SELECT ?,meta_id,?,? FROM objt WHERE object_id=?",
                (target, timestamp(), timestamp(), source),
            )
        return Reply()
    if op == "addw":
        return Reply(add_avu_to_matching(session, a[2], (a[3], a[4], a[5])))
    oid = entity_id(session, kind, a[2], WRITE)
    with session.catalog.transaction(durable=True) as db:
        if op in ("add", "adda"):
            add_avu(db, session, oid, (a[3], a[4], a[5]))
        elif op == "set":
            set_avu(db, session, oid, (a[3], a[4], a[5]))
        elif op in ("rm", "rmw"):
            units = a[5] if a[5] or op == "rm" else None
            if not remove_avus(db, oid, (a[3], a[4], units), op == "rmw"):
                raise IrodsError(ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO, "no such AVU")
        elif op == "rmi":
            db.execute("DELETE FROM objt WHERE object_id=? AND meta_id=?", (oid, a[3]))
        elif op == "mod":
            news = dict(x.split(":", 1) for x in a[5:9] if x[:2] in ("n:", "v:", "u:"))
            units = "" if a[5][:2] in ("n:", "v:", "u:") else a[5]
            if not remove_avus(db, oid, (a[3], a[4], units)):
                raise IrodsError(ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO, "no such AVU")
            add_avu(
                db, session, oid, (news.get("n", a[3]), news.get("v", a[4]), news.get("u", units))
            )
        else:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"operation {op}")
    return Reply()


@handles(Api.ATOMIC_APPLY_METADATA_OPERATIONS_APN)
def _atomic_apply_metadata_operations(session: Session, request: Request) -> Reply:
    """Several AVU operations, all or none."""
    data = request.json()
    name = str(data.get("entity_name"))
    try:
        if data.get("admin_mode"):
            session.elevate()
        oid = entity_id(session, str(data.get("entity_type")), name, WRITE)
    except IrodsError as e:
        if e.code in (
            ErrorCode.CAT_NO_ACCESS_PERMISSION,
            ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL,
        ):
            raise _operation_error(e.code, "User not allowed to modify metadata") from None
        raise _operation_error(
            ErrorCode.SYS_INVALID_INPUT_PARAM, f"Entity does not exist [entity_name={name}]"
        ) from None
    with session.catalog.transaction(durable=True) as db:
        for number, op in enumerate(data.get("operations") or []):
            try:
                avu = (str(op["attribute"]), str(op["value"]), str(op.get("units") or ""))
            except (KeyError, TypeError):
                raise _operation_error(
                    ErrorCode.SYS_INTERNAL_ERR, "Operation is not complete.", op, number
                ) from None
            if not avu[0] or not avu[1]:
                said = (
                    f"Empty metadata attribute name or value [attribute={avu[0]}, value={avu[1]}]"
                )
                raise _operation_error(ErrorCode.SYS_INVALID_INPUT_PARAM, said, op, number)
            if op.get("operation") == "add":
                add_avu(db, session, oid, avu, strict=False)
            elif op.get("operation") == "remove":
                remove_avus(db, oid, avu)
            else:
                raise _operation_error(
                    ErrorCode.INVALID_OPERATION, "Invalid metadata operation.", op, number
                )
    return json_reply({})


def _operation_error(
    code: int, message: str, operation: object = None, number: int = 0
) -> IrodsError:
    """An error that says in JSON which operation failed and why."""
    note = {"operation": operation or {}, "operation_index": number, "error_message": message}
    return IrodsError(code, message, body=json_reply(note).body)
