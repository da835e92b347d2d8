"""Instances as they go out: as stored where the peer takes that, else without compression."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain

from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from pacsgrid.errors import PacsgridError
from pacsgrid.gateway.dimse.contexts import EXPLICIT, IMPLICIT
from pacsgrid.gateway.explicit_vr import as_explicit
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.gateway.transcode import UndecodableError, decodable
from pacsgrid.pacs.part10 import HEAD, MOST_META, Meta, read_meta
from pacsgrid.pacs.protocol.link import (
    C_STORE,
    CLASS,
    FIELD,
    INSTANCE,
    MESSAGE,
    ORIGINATOR,
    ORIGINATOR_MESSAGE,
    PRIORITY,
    Link,
)

Storage = Mapping[str, Mapping[str, int]]


class Unsendable(PacsgridError):
    """The peer accepted nothing that an instance can be sent in."""


def can_send(storage: Storage, one: StoredInstance) -> bool:
    """Whether a context for an instance was accepted, as far as the index can tell."""
    syntaxes = storage.get(one.sop_class, {}) if one.sop_class else {"": 0}
    if not one.syntax:
        return bool(syntaxes)
    return one.syntax in syntaxes or (
        any(plain in syntaxes for plain in (EXPLICIT, IMPLICIT)) and decodable(one.syntax)
    )


def store(
    link: Link,
    storage: Storage,
    chunks: Iterator[bytes],
    message: int,
    originator: tuple[str, int] | None = None,
) -> None:
    """Send a C-STORE request with an instance's dataset.

    Raises
    ------
    Unsendable
        The peer accepted no context for it; nothing was sent.
    PacsgridError
        The object cannot be read; nothing was sent.
    Broken
        It cannot be read on in its middle: the association can only be aborted.
    """
    meta, head = _start(chunks)
    syntaxes = storage.get(meta.sop_class, {})
    data: Iterable[bytes | memoryview]
    if meta.transfer_syntax in syntaxes:
        context = syntaxes[meta.transfer_syntax]
        data = chain((memoryview(head)[meta.end :],), _unbroken(chunks))
    else:
        context, data = _plain(syntaxes, meta, b"".join((head, *chunks)))
    command: dict[int, int | str] = {
        CLASS: meta.sop_class,
        FIELD: C_STORE,
        MESSAGE: message,
        PRIORITY: 0,
        INSTANCE: meta.sop_uid,
    }
    if originator:
        command[ORIGINATOR], command[ORIGINATOR_MESSAGE] = originator
    link.send(context, command, data)


class Broken(Exception):
    """An object could not be read on when its first bytes had been sent."""


def _unbroken(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except PacsgridError as error:
        raise Broken(str(error)) from None


def _start(chunks: Iterator[bytes]) -> tuple[Meta, bytes]:
    head = b""
    for piece in chunks:
        head = head + piece if head else piece
        meta = read_meta(head[: HEAD + MOST_META])
        if meta and meta.end:
            return meta, head
        if len(head) >= HEAD + MOST_META:
            break
    raise Unsendable("an object of the zone is no DICOM file")


def _plain(
    syntaxes: Mapping[str, int], meta: Meta, data: bytes
) -> tuple[int, Sequence[memoryview]]:
    """Give an instance without compression, in a syntax that was accepted."""
    for syntax in (EXPLICIT, IMPLICIT):
        if syntax in syntaxes and decodable(meta.transfer_syntax):
            file = as_explicit(data) if syntax == EXPLICIT else _as_implicit(data)
            new = read_meta(file[: HEAD + MOST_META])
            if new and new.end:
                return syntaxes[syntax], (memoryview(file)[new.end :],)
    raise Unsendable("no context was accepted in which the instance can be sent")


def _as_implicit(data: bytes) -> bytes:
    """Give a file in Implicit VR Little Endian, for peers that know no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = dcmread(BytesIO(as_explicit(data)))
            source.file_meta.TransferSyntaxUID = IMPLICIT
            target = BytesIO()
            dcmwrite(target, source, implicit_vr=True, little_endian=True, enforce_file_format=True)
        except UndecodableError:
            raise
        except Exception as error:  # pydicom raises what it likes
            raise UndecodableError(
                f"an instance cannot be written in implicit VR: {type(error).__name__}"
            ) from None
    return target.getvalue()
