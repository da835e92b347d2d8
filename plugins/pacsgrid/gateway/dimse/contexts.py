"""Which presentation contexts the gateway accepts, and in which syntax (PS3.8 9.3.3.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pacsgrid.gateway.index import Index
from pacsgrid.pacs.contexts import SYNTAXES
from pacsgrid.pacs.protocol.wire import Request
from pacsgrid.pipeline.attributes import AVAILABLE_SYNTAX

VERIFICATION = "1.2.840.10008.1.1"
_MODEL = "1.2.840.10008.5.1.4.1.2."
PATIENT_FIND, PATIENT_MOVE, PATIENT_GET = (f"{_MODEL}1.{n}" for n in (1, 2, 3))
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"{_MODEL}2.{n}" for n in (1, 2, 3))
SERVICES = {
    VERIFICATION,
    PATIENT_FIND,
    PATIENT_MOVE,
    PATIENT_GET,
    STUDY_FIND,
    STUDY_MOVE,
    STUDY_GET,
}
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_STANDARD, _STORAGE = "1.2.840.10008.", "1.2.840.10008.5.1.4.1.1."
_NO_USE, _UNKNOWN_CLASS, _UNKNOWN_SYNTAXES = 1, 3, 4
_BELIEVED_SECONDS = 600.0

Stored = Mapping[str, frozenset[str]]


def is_storage(uid: str) -> bool:
    """Whether instances may be of this SOP class; private ones may."""
    return uid.startswith(_STORAGE) or (uid != "" and not uid.startswith(_STANDARD))


class Kinds:
    """In which transfer syntaxes each SOP class is stored; ten minutes old at most."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._until = 0.0
        self._known: Stored = {}

    def stored(self) -> Stored:
        """Give the transfer syntaxes by SOP class."""
        with self._lock:
            if self._until < time.monotonic():
                self._known = self._ask()
                self._until = time.monotonic() + _BELIEVED_SECONDS
            return self._known

    def _ask(self) -> Stored:
        value = "json_extract(instance.attributes, '$.\"{}\".Value[0]')"
        columns = ", ".join(value.format(tag) for tag in ("00080016", AVAILABLE_SYNTAX))
        found: dict[str, set[str]] = {}
        with self._index.reading() as db:
            for sop_class, syntax in db.execute(f"SELECT DISTINCT {columns} FROM instance"):
                found.setdefault(str(sop_class), set()).add(str(syntax))
        return {uid: frozenset(syntaxes) for uid, syntaxes in found.items()}


@dataclass(frozen=True)
class Agreed:
    """What was agreed on: syntax or reason of refusal by context, and the roles answered."""

    abstract: Mapping[int, str]
    chosen: Mapping[int, str]
    refused: Mapping[int, int]
    roles: Mapping[str, tuple[bool, bool]]

    def storage(self) -> dict[str, dict[str, int]]:
        """Give the contexts in which instances may be sent, by SOP class and syntax."""
        found: dict[str, dict[str, int]] = {}
        for number, syntax in self.chosen.items():
            uid = self.abstract[number]
            if uid not in SERVICES:
                found.setdefault(uid, {}).setdefault(syntax, number)
        return found


def agree(request: Request, kinds: Kinds) -> Agreed:
    """Choose a syntax for each context that the gateway has a use for."""
    chosen: dict[int, str] = {}
    refused: dict[int, int] = {}
    roles: dict[str, tuple[bool, bool]] = {}
    for context in request.contexts:
        service = context.abstract in SERVICES
        if not service and not is_storage(context.abstract):
            refused[context.number] = _UNKNOWN_CLASS
            continue
        scu, scp = request.roles.get(context.abstract, (True, False))
        if not service and not scp:
            # The gateway only sends instances; what is sent to it goes to the receiver.
            refused[context.number] = _NO_USE
            continue
        known = [one for one in context.transfers if one in SYNTAXES]
        if service:
            syntax = next((one for one in known if one in (EXPLICIT, IMPLICIT)), "")
        else:
            syntax = _best(known, context.abstract, kinds)
        if not syntax:
            refused[context.number] = _UNKNOWN_SYNTAXES
            continue
        chosen[context.number] = syntax
        if context.abstract in request.roles:
            roles[context.abstract] = (scu, False) if service else (False, True)
    abstract = {context.number: context.abstract for context in request.contexts}
    return Agreed(abstract, chosen, refused, roles)


def _best(proposed: list[str], sop_class: str, kinds: Kinds) -> str:
    """Choose as stored where one syntax serves for all; what serves for several is uncompressed."""
    if len(proposed) < 2:
        return proposed[0] if proposed else ""
    stored = kinds.stored().get(sop_class, frozenset())
    if len(stored) == 1 and (only := next(iter(stored))) in proposed:
        return only
    return next((one for one in (EXPLICIT, IMPLICIT) if one in proposed), proposed[0])
