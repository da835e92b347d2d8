"""Metadata: AVUs of data objects, collections, resources and users."""

from __future__ import annotations

import sqlite3

from ..api_messages import Reply, Request, json_reply, operation_error
from ..api_numbers import Api
from ..api_registry import handles
from ..catalog import READ, WRITE, timestamp
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..metadata import ENTITY_TYPES, add_avu, add_avu_to_matching, entity_id, remove_avus, set_avu
from ..session import Session


@handles(Api.MOD_AVU_METADATA_AN)
def _mod_avu_metadata(session: Session, request: Request) -> Reply:
    """Do what imeta asks for: add, set, change, remove or copy AVUs."""
    operation, entity, *arguments = [request.node.get(f"arg{i}") for i in range(10)]
    kind = ENTITY_TYPES.get(entity)
    if kind is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"type {entity}")
    if operation == "cp":
        return _copy(session, kind, *arguments[:3])
    name, attribute, value, units, *_ = arguments
    if operation == "addw":
        return Reply(add_avu_to_matching(session, name, (attribute, value, units)))
    object_id = entity_id(session, kind, name, WRITE)
    with session.catalog.transaction(durable=True) as db:
        if operation in ("add", "adda"):
            add_avu(db, session, object_id, (attribute, value, units))
        elif operation == "set":
            set_avu(db, session, object_id, (attribute, value, units))
        elif operation in ("rm", "rmw"):
            wild = operation == "rmw"
            _remove(db, object_id, (attribute, value, units if units or not wild else None), wild)
        elif operation == "rmi":
            db.execute("DELETE FROM objt WHERE object_id=? AND meta_id=?", (object_id, attribute))
        elif operation == "mod":
            _modify(db, session, object_id, arguments)
        else:
            raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"operation {operation}")
    return Reply()


def _copy(session: Session, kind: str, target_entity: str, name: str, target_name: str) -> Reply:
    target_kind = ENTITY_TYPES.get(target_entity)
    if target_kind is None:
        raise IrodsError(ErrorCode.CAT_INVALID_ARGUMENT, f"type {target_entity}")
    source = entity_id(session, kind, name, READ)
    target = entity_id(session, target_kind, target_name, WRITE)
    with session.catalog.transaction(durable=True) as db:
        db.execute(
            "INSERT OR IGNORE INTO objt SELECT ?,meta_id,?,? FROM objt WHERE object_id=?",
            (target, timestamp(), timestamp(), source),
        )
    return Reply()


def _remove(
    db: sqlite3.Connection, object_id: int, avu: tuple[str, str, str | None], wild: bool = False
) -> None:
    if not remove_avus(db, object_id, avu, wild):
        raise IrodsError(ErrorCode.CAT_SUCCESS_BUT_WITH_NO_INFO, "no such AVU")


def _modify(db: sqlite3.Connection, session: Session, object_id: int, arguments: list[str]) -> None:
    """Change an AVU to the attribute (``n:``), value (``v:``) or units (``u:``) that are given."""
    _, attribute, value, units = arguments[:4]
    prefixes = ("n:", "v:", "u:")
    new = dict(x.split(":", 1) for x in arguments[3:7] if x[:2] in prefixes)
    if units[:2] in prefixes:  # the old units were left out
        units = ""
    _remove(db, object_id, (attribute, value, units))
    changed = (new.get("n", attribute), new.get("v", value), new.get("u", units))
    add_avu(db, session, object_id, changed)


@handles(Api.ATOMIC_APPLY_METADATA_OPERATIONS_APN)
def _atomic_apply_metadata_operations(session: Session, request: Request) -> Reply:
    """Add and remove several AVUs of one object, all or none."""
    data = request.json()
    name = str(data.get("entity_name"))
    try:
        if data.get("admin_mode"):
            session.elevate()
        object_id = entity_id(session, str(data.get("entity_type")), name, WRITE)
    except IrodsError as e:
        if e.code in (
            ErrorCode.CAT_NO_ACCESS_PERMISSION,
            ErrorCode.CAT_INSUFFICIENT_PRIVILEGE_LEVEL,
        ):
            raise operation_error(e.code, "User not allowed to modify metadata") from None
        raise operation_error(
            ErrorCode.SYS_INVALID_INPUT_PARAM, f"Entity does not exist [entity_name={name}]"
        ) from None
    with session.catalog.transaction(durable=True) as db:
        for number, op in enumerate(data.get("operations") or []):
            try:
                avu = (str(op["attribute"]), str(op["value"]), str(op.get("units") or ""))
            except (KeyError, TypeError):
                raise operation_error(
                    ErrorCode.SYS_INTERNAL_ERR, "Operation is not complete.", op, number
                ) from None
            if not avu[0] or not avu[1]:
                said = (
                    f"Empty metadata attribute name or value [attribute={avu[0]}, value={avu[1]}]"
                )
                raise operation_error(ErrorCode.SYS_INVALID_INPUT_PARAM, said, op, number)
            if op.get("operation") == "add":
                add_avu(db, session, object_id, avu, strict=False)
            elif op.get("operation") == "remove":
                remove_avus(db, object_id, avu)
            else:
                raise operation_error(
                    ErrorCode.INVALID_OPERATION, "Invalid metadata operation.", op, number
                )
    return json_reply({})
