"""Send instances by C-STORE: as stored if the peer accepts that, else without compression."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain

from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    MOVE_ORIGINATOR,
    MOVE_ORIGINATOR_MESSAGE,
    PRIORITY,
)
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.presentation_contexts import EXPLICIT, IMPLICIT
from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.explicit_vr import as_explicit
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.gateway.transcode import UndecodableError, decodable
from pacsgrid.pacs.part10 import HEAD, MOST_META, Meta, read_meta

StorageContexts = Mapping[str, Mapping[str, int]]  # context ID by SOP class and transfer syntax


class NoSuitableContextError(PacsgridError):
    """The peer accepted no presentation context in which the instance can be sent."""


class IncompleteSendError(Exception):
    """An instance could not be read to its end after its first bytes had been sent."""


def can_send(storage: StorageContexts, instance: StoredInstance) -> bool:
    """Return whether a context for an instance was accepted, as far as the index knows it.

    Parameters
    ----------
    storage
        The accepted contexts.
    instance
        The instance; the index may lack its SOP class or transfer syntax.
    """
    syntaxes = storage.get(instance.sop_class, {}) if instance.sop_class else {"": 0}
    if not instance.syntax:
        return bool(syntaxes)
    return instance.syntax in syntaxes or (
        any(plain in syntaxes for plain in (EXPLICIT, IMPLICIT)) and decodable(instance.syntax)
    )


def send_instance(
    channel: MessageChannel,
    storage: StorageContexts,
    chunks: Iterator[bytes],
    message_id: int,
    originator: tuple[str, int] | None = None,
) -> None:
    """Send a C-STORE request with an instance's dataset.

    Parameters
    ----------
    channel
        The association.
    storage
        The accepted contexts.
    chunks
        The instance's file in pieces.
    message_id
        The request's message ID.
    originator
        For a C-MOVE, the calling AE title and the message ID of its request.

    Raises
    ------
    NoSuitableContextError
        The peer accepted no context for it; nothing was sent.
    PacsgridError
        The object cannot be read; nothing was sent.
    IncompleteSendError
        It cannot be read to its end: the association must be aborted.
    """
    meta, head = _read_head(chunks)
    syntaxes = storage.get(meta.sop_class, {})
    data: Iterable[bytes | memoryview]
    if meta.transfer_syntax in syntaxes:
        context = syntaxes[meta.transfer_syntax]
        data = chain((memoryview(head)[meta.end :],), _rest(chunks))
    else:
        context, data = _without_compression(syntaxes, meta, b"".join((head, *chunks)))
    command: dict[int, int | str] = {
        AFFECTED_SOP_CLASS: meta.sop_class,
        COMMAND_FIELD: C_STORE,
        MESSAGE_ID: message_id,
        PRIORITY: 0,
        AFFECTED_SOP_INSTANCE: meta.sop_uid,
    }
    if originator:
        command[MOVE_ORIGINATOR], command[MOVE_ORIGINATOR_MESSAGE] = originator
    channel.send(context, command, data)


def _rest(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except PacsgridError as error:
        raise IncompleteSendError(str(error)) from None


def _read_head(chunks: Iterator[bytes]) -> tuple[Meta, bytes]:
    head = b""
    for piece in chunks:
        head = head + piece if head else piece
        meta = read_meta(head[: HEAD + MOST_META])
        if meta and meta.end:
            return meta, head
        if len(head) >= HEAD + MOST_META:
            break
    raise NoSuitableContextError("an object of the zone is not a DICOM file")


def _without_compression(
    syntaxes: Mapping[str, int], meta: Meta, data: bytes
) -> tuple[int, Sequence[memoryview]]:
    """Return the context ID and the dataset of an instance, decompressed."""
    for syntax in (EXPLICIT, IMPLICIT):
        if syntax in syntaxes and decodable(meta.transfer_syntax):
            file = as_explicit(data) if syntax == EXPLICIT else _as_implicit(data)
            new = read_meta(file[: HEAD + MOST_META])
            if new and new.end:
                return syntaxes[syntax], (memoryview(file)[new.end :],)
    raise NoSuitableContextError("no context was accepted in which the instance can be sent")


def _as_implicit(data: bytes) -> bytes:
    """Return a file in Implicit VR Little Endian, for peers that accept nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = dcmread(BytesIO(as_explicit(data)))
            source.file_meta.TransferSyntaxUID = IMPLICIT
            target = BytesIO()
            dcmwrite(target, source, implicit_vr=True, little_endian=True, enforce_file_format=True)
        except UndecodableError:
            raise
        except Exception as error:  # pydicom raises any type of exception for malformed data
            raise UndecodableError(
                f"an instance cannot be written in implicit VR: {type(error).__name__}"
            ) from None
    return target.getvalue()
