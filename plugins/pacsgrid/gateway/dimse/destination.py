"""Associations with the destinations of C-MOVE (PS3.4 section C.4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pacsgrid.config import Destination, GatewaySettings
from pacsgrid.dimse import requestor
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.exceptions import AssociationFailedError, AssociationRejectedError
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.pdu import ProposedContext
from pacsgrid.dimse.presentation_contexts import EXPLICIT, IMPLICIT, MAX_CONTEXTS
from pacsgrid.dimse.tls import client_tls
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.gateway.dimse.transfer import StorageContexts
from pacsgrid.gateway.object_reader import StoredInstance


class DestinationUnavailableError(PacsgridError):
    """The destination of a C-MOVE does not answer, or rejects the association."""


def split_by_contexts(instances: Sequence[StoredInstance]) -> Iterator[list[StoredInstance]]:
    """Split so that each part's presentation contexts fit into one association."""
    kinds: set[tuple[str, str]] = set()
    part: list[StoredInstance] = []
    for one in sorted(instances, key=lambda item: (item.sop_class, item.syntax)):
        # One context as stored, one without compression.
        more = kinds | {(one.sop_class, one.syntax), (one.sop_class, "")}
        if len(more) >= MAX_CONTEXTS and part:
            yield part
            part, more = [], {(one.sop_class, one.syntax), (one.sop_class, "")}
        kinds = more
        part.append(one)
    if part:
        yield part


def _proposed(instances: Sequence[StoredInstance]) -> tuple[ProposedContext, ...]:
    kinds: dict[tuple[str, tuple[str, ...]], None] = {}
    for one in instances:
        if one.syntax:
            kinds[one.sop_class, (one.syntax,)] = None
        kinds[one.sop_class, (EXPLICIT, IMPLICIT)] = None
    return tuple(
        ProposedContext(number * 2 + 1, sop_class, syntaxes)
        for number, (sop_class, syntaxes) in enumerate(kinds)
    )


@contextmanager
def open_association(
    destination: Destination, settings: GatewaySettings, instances: Sequence[StoredInstance]
) -> Iterator[tuple[MessageChannel, StorageContexts]]:
    """Hold an association that can carry instances; it is released, or aborted after an error.

    Parameters
    ----------
    destination
        The peer.
    settings
        The gateway's settings: AE title, maximum length and timeout.
    instances
        What is to be sent, a part that `split_by_contexts` yielded.

    Yields
    ------
    MessageChannel
        For messages over the association.
    StorageContexts
        The accepted presentation contexts.

    Raises
    ------
    DestinationUnavailableError
        There is no association.
    """
    contexts = _proposed(instances)
    name = f"destination {destination.ae_title}"
    with ExitStack() as stack:
        try:
            association = requestor.open_association(_settings(destination, settings), contexts)
            channel, accepted = stack.enter_context(association)
        except AssociationRejectedError as error:
            raise DestinationUnavailableError(f"{name} rejects the association: {error}") from None
        except AssociationFailedError as error:
            raise DestinationUnavailableError(f"{name}: {error}") from None
        except ConfigError as error:
            raise DestinationUnavailableError(str(error)) from None
        storage: dict[str, dict[str, int]] = {}
        for one in contexts:
            if syntax := accepted.syntaxes.get(one.number):
                storage.setdefault(one.abstract_syntax, {}).setdefault(syntax, one.number)
        yield channel, storage


def _settings(destination: Destination, settings: GatewaySettings) -> AssociationSettings:
    name = f"destination {destination.ae_title}"
    files = (destination.ca_file, destination.cert_file, destination.key_file)
    return AssociationSettings(
        destination.host,
        destination.port,
        destination.ae_title,
        settings.ae_title,
        client_tls(name, *files) if destination.tls else None,
        connect_seconds=settings.idle_seconds,
        idle_seconds=settings.idle_seconds,
        max_pdu=settings.max_pdu,
    )
