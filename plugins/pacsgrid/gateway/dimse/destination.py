"""Associations with the destinations of C-MOVE (PS3.4 C.4.2)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pacsgrid.config import Destination
from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.dimse.contexts import EXPLICIT, IMPLICIT
from pacsgrid.gateway.dimse.transfer import Storage
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.pacs.contexts import MOST
from pacsgrid.pacs.protocol import requesting
from pacsgrid.pacs.protocol.link import Link
from pacsgrid.pacs.protocol.requesting import NotAssociated, Peer, Rejected
from pacsgrid.pacs.protocol.wire import Proposed
from pacsgrid.pacs.tls import client_context


class NoAssociation(PacsgridError):
    """The destination is not there, or does not take what is to be sent."""


def groups(instances: Sequence[StoredInstance]) -> Iterator[list[StoredInstance]]:
    """Split so that each group's presentation contexts fit into one association."""
    kinds: set[tuple[str, str]] = set()
    group: list[StoredInstance] = []
    for one in sorted(instances, key=lambda item: (item.sop_class, item.syntax)):
        # As it is stored, and without compression.
        more = kinds | {(one.sop_class, one.syntax), (one.sop_class, "")}
        if len(more) >= MOST and group:
            yield group
            group, more = [], {(one.sop_class, one.syntax), (one.sop_class, "")}
        kinds = more
        group.append(one)
    if group:
        yield group


def _proposed(instances: Sequence[StoredInstance]) -> tuple[Proposed, ...]:
    kinds: dict[tuple[str, tuple[str, ...]], None] = {}
    for one in instances:
        if one.syntax:
            kinds[one.sop_class, (one.syntax,)] = None
        kinds[one.sop_class, (EXPLICIT, IMPLICIT)] = None
    return tuple(
        Proposed(number * 2 + 1, sop_class, syntaxes)
        for number, (sop_class, syntaxes) in enumerate(kinds)
    )


@contextmanager
def associated(
    to: Destination, calling: str, instances: Sequence[StoredInstance], max_pdu: int, seconds: float
) -> Iterator[tuple[Link, Storage]]:
    """Hold an association that can carry instances; it is released, or aborted after an error.

    Raises
    ------
    NoAssociation
        It cannot be had.
    """
    contexts = _proposed(instances)
    with ExitStack() as stack:
        try:
            peer = Peer(to.host, to.port, to.ae_title, calling, _tls(to), seconds, seconds)
            held = requesting.associated(peer, contexts, max_pdu)
            link, accepted = stack.enter_context(held)
        except Rejected as error:
            raise NoAssociation(
                f"destination {to.ae_title} rejects the association: {error}"
            ) from None
        except NotAssociated as error:
            raise NoAssociation(f"destination {to.ae_title}: {error}") from None
        storage: dict[str, dict[str, int]] = {}
        for one in contexts:
            if syntax := accepted.syntaxes.get(one.number):
                storage.setdefault(one.abstract, {}).setdefault(syntax, one.number)
        yield link, storage


def _tls(to: Destination) -> ssl.SSLContext | None:
    if not to.tls:
        return None
    try:
        return client_context(to.ca_file, to.cert_file, to.key_file)
    except OSError as error:
        raise NoAssociation(
            f"destination {to.ae_title}: ca_file, cert_file or key_file cannot be used: "
            f"{type(error).__name__}"
        ) from None
