"""Negotiate the gateway's presentation contexts (PS3.8 section 9.3.3.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pacsgrid.dimse.pdu import AssociateRequest
from pacsgrid.dimse.presentation_contexts import (
    ABSTRACT_SYNTAX_UNSUPPORTED,
    EXPLICIT,
    IMPLICIT,
    TRANSFER_SYNTAXES,
    TRANSFER_SYNTAXES_UNSUPPORTED,
    USER_REJECTION,
    VERIFICATION,
    is_storage_class,
)
from pacsgrid.gateway.index import Index
from pacsgrid.pipeline.attributes import AVAILABLE_SYNTAX

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
_MAX_AGE_SECONDS = 600.0


class StoredSyntaxes:
    """The transfer syntaxes in which instances are stored, read again every ten minutes.

    Parameters
    ----------
    index
        The gateway's index.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._until = 0.0
        self._known: Mapping[str, frozenset[str]] = {}

    def by_class(self) -> Mapping[str, frozenset[str]]:
        """Return the transfer syntax UIDs by SOP class UID."""
        with self._lock:
            if self._until < time.monotonic():
                self._known = self._read()
                self._until = time.monotonic() + _MAX_AGE_SECONDS
            return self._known

    def _read(self) -> Mapping[str, frozenset[str]]:
        value = "json_extract(instance.attributes, '$.\"{}\".Value[0]')"
        columns = ", ".join(value.format(tag) for tag in ("00080016", AVAILABLE_SYNTAX))
        found: dict[str, set[str]] = {}
        with self._index.reading() as db:
            for sop_class, syntax in db.execute(f"SELECT DISTINCT {columns} FROM instance"):
                found.setdefault(str(sop_class), set()).add(str(syntax))
        return {uid: frozenset(syntaxes) for uid, syntaxes in found.items()}


@dataclass(frozen=True)
class NegotiatedContexts:
    """The presentation contexts of one association, by context ID.

    Attributes
    ----------
    abstract
        Abstract syntax UID of each proposed context.
    chosen
        Transfer syntax UID of each accepted context.
    refused
        Reason of each refused context.
    roles
        Answers to role selection by SOP class: whether the peer is SCU and SCP.
    """

    abstract: Mapping[int, str]
    chosen: Mapping[int, str]
    refused: Mapping[int, int]
    roles: Mapping[str, tuple[bool, bool]]

    def storage(self) -> dict[str, dict[str, int]]:
        """Return the contexts for sending instances: context ID by SOP class and syntax."""
        found: dict[str, dict[str, int]] = {}
        for number, syntax in self.chosen.items():
            uid = self.abstract[number]
            if uid not in SERVICES:
                found.setdefault(uid, {}).setdefault(syntax, number)
        return found


def negotiate(
    request: AssociateRequest, stored: StoredSyntaxes, takes: bool = False
) -> NegotiatedContexts:
    """Choose a transfer syntax for each context that the gateway serves.

    Parameters
    ----------
    request
        The peer's request.
    stored
        In which syntaxes instances are stored: as stored, they need not be transcoded.
    takes
        Whether the peer may send instances, too.

    Returns
    -------
    NegotiatedContexts
        The accepted and the refused contexts.
    """
    chosen: dict[int, str] = {}
    refused: dict[int, int] = {}
    roles: dict[str, tuple[bool, bool]] = {}
    for context in request.contexts:
        uid = context.abstract_syntax
        service = uid in SERVICES
        if not service and not is_storage_class(uid):
            refused[context.number] = ABSTRACT_SYNTAX_UNSUPPORTED
            continue
        scu, scp = request.roles.get(uid, (True, False))
        if not service and not scp and not takes:
            # The gateway only sends instances; the receiver accepts them.
            refused[context.number] = USER_REJECTION
            continue
        known = [one for one in context.transfer_syntaxes if one in TRANSFER_SYNTAXES]
        if service:
            syntax = next((one for one in known if one in (EXPLICIT, IMPLICIT)), "")
        else:
            syntax = _best(known, uid, stored) if scp else next(iter(known), "")
        if not syntax:
            refused[context.number] = TRANSFER_SYNTAXES_UNSUPPORTED
            continue
        chosen[context.number] = syntax
        if uid in request.roles:
            roles[uid] = (scu, False) if service else (scu and takes, scp)
    abstract = {context.number: context.abstract_syntax for context in request.contexts}
    return NegotiatedContexts(abstract, chosen, refused, roles)


def _best(proposed: list[str], sop_class: str, stored: StoredSyntaxes) -> str:
    """Choose the stored syntax if there is one for the class, else one without compression."""
    if len(proposed) < 2:
        return proposed[0] if proposed else ""
    syntaxes = stored.by_class().get(sop_class, frozenset())
    if len(syntaxes) == 1 and (only := next(iter(syntaxes))) in proposed:
        return only
    return next((one for one in (EXPLICIT, IMPLICIT) if one in proposed), proposed[0])
