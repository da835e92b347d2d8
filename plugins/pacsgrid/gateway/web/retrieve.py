"""WADO-RS: studies, series and instances, their metadata, bulk data, frames and pictures.

Bodies of several parts start with their boundary and name each part's transfer syntax, as some
viewers' loaders insist (PS3.18 8.6.1.2, 8.7.3).
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from itertools import chain, islice
from typing import BinaryIO, TypeVar

from pydicom.uid import ExplicitVRBigEndian
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.explicit_vr import explicit
from pacsgrid.gateway.frames import FrameReader, ValueSpan
from pacsgrid.gateway.metadata import PATH, bulk_value, metadata
from pacsgrid.gateway.object_reader import SMALL, StoredInstance
from pacsgrid.gateway.rendered import FORMATS, RenderOptions, render
from pacsgrid.gateway.transcode import EXPLICIT, UndecodableError, decodable
from pacsgrid.gateway.web.byte_ranges import is_ranged, ranged
from pacsgrid.gateway.web.content_negotiation import (
    ANY,
    AS_STORED,
    DICOM,
    OCTETS,
    AcceptedType,
    accepted_types,
    allows,
    not_acceptable,
    require_json,
)
from pacsgrid.gateway.web.resource_urls import address

THUMBNAIL = 256
# Bytes that are sent at once: each piece costs a change of threads.
AT_ONCE = 1 << 20
# The media types of frames in their own transfer syntax (PS3.18 table 8.7.3-5).
_MEDIA = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.100": "video/mpeg",
    "1.2.840.10008.1.2.4.101": "video/mpeg",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
}
Part = tuple[str, Iterable[bytes]]
T = TypeVar("T")


def retrieve(gateway: Gateway, request: Request, instances: Sequence[StoredInstance]) -> Response:
    """Answer with instances' files: in parts, or the only one by itself."""
    for one in accepted_types(request):
        if not allows(one, DICOM) or not _can_give(one, instances):
            continue
        anyhow = one.syntax == AS_STORED or (one.media == "*/*" and not one.syntax)
        syntax = "" if anyhow else one.syntax or EXPLICIT
        if one.multipart or one.media == ANY:
            return _multipart(DICOM, _files(gateway, instances, syntax))
        if len(instances) == 1:
            media, pieces = next(_files(gateway, instances, syntax))
            return _stream(pieces, media)
    raise not_acceptable(
        [f'multipart/related; type="{DICOM}"; transfer-syntax={s}' for s in (AS_STORED, EXPLICIT)]
    )


def _can_give(one: AcceptedType, instances: Sequence[StoredInstance]) -> bool:
    if one.syntax in ("", EXPLICIT):
        return one.media == "*/*" or all(decodable(i.syntax) for i in instances)
    return one.syntax == AS_STORED or all(i.syntax == one.syntax for i in instances)


def _files(gateway: Gateway, instances: Sequence[StoredInstance], syntax: str) -> Iterator[Part]:
    """Yield instances' files, decoded where `syntax` asks for what they are not stored in."""
    for one, pieces in gateway.objects.many(instances):
        given = one.syntax
        if syntax and one.syntax != syntax:
            pieces, given = _explicit(gateway, one, pieces), EXPLICIT
        yield f"{DICOM}; transfer-syntax={given}" if given else DICOM, pieces


def _explicit(gateway: Gateway, one: StoredInstance, pieces: Iterator[bytes]) -> Iterator[bytes]:
    large = one.size > SMALL
    with gateway.cache.open(one) if large else BytesIO(b"".join(pieces)) as file:
        yield from explicit(file)


def retrieve_metadata(
    gateway: Gateway, request: Request, instances: Sequence[StoredInstance]
) -> Response:
    """Answer with instances' attributes in JSON."""
    media = require_json(request)
    root = address(request)
    texts = metadata(gateway.index, gateway.objects, gateway.cache, instances, root)

    def pieces() -> Iterator[bytes]:
        start = "["
        for text in texts:
            yield (start + text).encode()
            start = ","
        yield b"]"

    return _stream(pieces(), media)


def retrieve_bulk(gateway: Gateway, request: Request, one: StoredInstance, path: str) -> Response:
    """Answer with a bulk data value; encapsulated pixel data comes frame by frame, as stored.

    A value by itself, not in parts, may be asked for by a range of its bytes (RFC 9110 14).
    """
    ways = [way for way in accepted_types(request) if allows(way, OCTETS)]
    if not ways:
        raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
    # Parts have no ranges: who asks for one and takes a value by itself is given it.
    ranged_too = is_ranged(request) and any(not way.multipart for way in ways)
    several = not ranged_too and (ways[0].multipart or ways[0].media == ANY)
    syntax = EXPLICIT
    if not PATH.fullmatch(path):
        raise HTTPException(404, "no such bulk data")
    with ExitStack() as stack:
        file = stack.enter_context(_open(gateway, one))
        if path.upper().startswith("7FE0"):
            frames = FrameReader(file)
            if int(path, 16) != frames.tag:
                raise HTTPException(404, "no such bulk data")
            if frames.syntax != EXPLICIT:
                if not several and frames.count > 1:
                    raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
                parts = _frames(frames, range(1, frames.count + 1))
                held = _held(parts, stack.pop_all())
                if several:
                    return _multipart(OCTETS, held)
                return _stream(chain.from_iterable(pieces for _, pieces in held), OCTETS)
            value = frames.value
            if frames.swapped:  # as it is stored, as every value of such an instance
                value, syntax = ValueSpan.of(bulk_value(file, path)), str(ExplicitVRBigEndian)
        else:
            try:
                value = ValueSpan.of(bulk_value(file, path))
            except KeyError:
                raise HTTPException(404, "no such bulk data") from None
        whole = stack.pop_all()
    if several:
        part = f"{OCTETS}; transfer-syntax={syntax}", value.pieces(0, value.size)
        return _multipart(OCTETS, _held([part], whole))
    start, end, status, headers = ranged(request, value.size)
    answer = _stream(_held(value.pieces(start, end), whole), OCTETS)
    answer.status_code = status
    answer.headers.update(headers)
    return answer


def _frames(frames: FrameReader, numbers: Iterable[int], decoded: bool = False) -> Iterator[Part]:
    syntax = EXPLICIT if decoded else frames.syntax
    media = f"{_MEDIA.get(syntax, OCTETS)}; transfer-syntax={syntax}"
    for number in numbers:
        yield media, [frames.decoded(number) if decoded else frames.stored(number)]


def _held(things: Iterable[T], stack: ExitStack) -> Generator[T, None, None]:
    """Yield, and close what it was read from when all is given, or nobody wants more."""
    with stack:
        yield from things


def retrieve_frames(
    gateway: Gateway, request: Request, one: StoredInstance, numbers: Sequence[int]
) -> Response:
    """Answer with frames, as stored or decoded, one after the other."""
    with ExitStack() as stack:
        frames = FrameReader(stack.enter_context(_open(gateway, one)))
        if max(numbers) > frames.count:
            raise HTTPException(404, f"the instance has {frames.count} frames")
        for way in accepted_types(request):
            stored = _MEDIA.get(frames.syntax, OCTETS)
            plain = frames.syntax == EXPLICIT
            as_is = (
                way.syntax in (AS_STORED, frames.syntax)
                or (way.media == ANY and not way.syntax)
                or (way.media == stored and not way.syntax and not plain)
            )
            if as_is and allows(way, OCTETS if way.media == OCTETS else stored):
                decoded = False
            elif allows(way, OCTETS) and way.syntax in ("", EXPLICIT) and decodable(frames.syntax):
                decoded = not plain
            else:
                continue
            several = way.multipart or way.media == ANY
            if not several and len(numbers) > 1:
                continue
            parts = _held(_frames(frames, numbers, decoded), stack.pop_all())
            if several:
                return _multipart(OCTETS if decoded else stored, parts)
            media, pieces = next(parts)
            parts.close()
            return Response(b"".join(pieces), media_type=media)
    raise not_acceptable([f'multipart/related; type="{OCTETS}"; transfer-syntax={AS_STORED}'])


def retrieve_rendered(
    gateway: Gateway,
    request: Request,
    instances: Sequence[StoredInstance],
    numbers: Sequence[int] = (),
    edge: int = 0,
) -> Response:
    """Answer with pictures of frames: all of them in parts, or one where one picture is taken.

    The one is the first frame of the first instance, of the middle one for a thumbnail.
    """
    try:
        view = RenderOptions.parse(request.query_params, edge)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    for way in accepted_types(request):
        media = next((one for one in FORMATS if allows(way, one)), "")
        if not media or (way.multipart and edge):
            continue
        if way.multipart:
            return _multipart(media, _pictures(gateway, instances, numbers, view, media))
        break
    else:
        several = [f'multipart/related; type="{one}"' for one in FORMATS]
        raise not_acceptable([*FORMATS, *several])
    if len(numbers) > 1:
        raise HTTPException(400, "frames are rendered in parts, or one at a time")
    one = instances[len(instances) // 2] if edge else instances[0]
    with _open(gateway, one) as file:
        return Response(
            _picture(FrameReader(file), (numbers or [1])[0], view, media), media_type=media
        )


def _pictures(
    gateway: Gateway,
    instances: Sequence[StoredInstance],
    numbers: Sequence[int],
    view: RenderOptions,
    media: str,
) -> Iterator[Part]:
    """Yield the frames of the instances that have any; what cannot be drawn ends it."""
    none = True
    for one in instances:
        with _open(gateway, one) as file:
            try:
                frames = FrameReader(file)
            except UndecodableError:
                continue  # a report or a plan among the images of a study
            for number in numbers or range(1, frames.count + 1):
                none = False
                yield media, [_picture(frames, number, view, media)]
    if none:
        raise UndecodableError("there is no image among what is asked for")


def _picture(frames: FrameReader, number: int, view: RenderOptions, media: str) -> bytes:
    try:
        return render(frames, number, view, media)
    except IndexError:
        raise HTTPException(404, "the instance has no such frame") from None


def _open(gateway: Gateway, one: StoredInstance) -> BinaryIO:
    """Open an instance's file; one with many frames is kept for the next of them."""
    if one.frames > 1 or one.size > SMALL:
        return gateway.cache.open(one)
    return BytesIO(gateway.objects.read(one))


def _multipart(media: str, parts: Iterable[Part]) -> Response:
    boundary = secrets.token_hex(16)

    def pieces() -> Iterator[bytes]:
        waiting, before = bytearray(), ""
        for kind, content in parts:
            waiting += f"{before}--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
            for piece in content:
                waiting += piece
                if len(waiting) >= AT_ONCE:
                    yield bytes(waiting)
                    waiting.clear()
            before = "\r\n"
        yield bytes(waiting) + f"\r\n--{boundary}--\r\n".encode()

    return _stream(pieces(), f'multipart/related; type="{media}"; boundary={boundary}')


def _stream(pieces: Iterable[bytes], media: str) -> Response:
    """Answer in pieces; what fails before the first of them is still told by the status."""
    coming = iter(pieces)
    first = list(islice(coming, 1))
    answer = StreamingResponse(chain(first, coming), media_type=media)
    answer.headers["Cache-Control"] = "private, no-store"
    answer.headers["Accept-Ranges"] = "none"
    return answer
