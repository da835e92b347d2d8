"""WADO-RS: retrieve instances, metadata, bulk data, frames and rendered images (PS3.18 10.4).

Multipart bodies start with the boundary, and each part names its transfer syntax (PS3.18 8.6.1.2,
8.7.3): some viewers require both.
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
from pacsgrid.gateway.web.byte_ranges import is_ranged, select_range
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

# Width and height of a thumbnail's viewport, in pixels.
THUMBNAIL = 256
# Bytes to send at once; small pieces are joined, as each costs a switch between threads.
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
    """Answer with instances as DICOM files (PS3.18 10.4.1.1.1).

    Parameters
    ----------
    gateway
        The gateway.
    request
        The request; its accepted media types decide the transfer syntax, and whether the answer
        is multipart.
    instances
        The instances to send.

    Returns
    -------
    Response
        A multipart body, or a single file if there is one instance and the client prefers it.

    Raises
    ------
    HTTPException
        406 if no accepted media type fits.
    """
    for accepted in accepted_types(request):
        if not allows(accepted, DICOM) or not _is_possible(accepted, instances):
            continue
        as_stored = accepted.syntax == AS_STORED or (accepted.media == ANY and not accepted.syntax)
        syntax = "" if as_stored else accepted.syntax or EXPLICIT
        if accepted.multipart or accepted.media == ANY:
            return _multipart(DICOM, _files(gateway, instances, syntax))
        if len(instances) == 1:
            media, pieces = next(_files(gateway, instances, syntax))
            return _stream(pieces, media)
    raise not_acceptable(
        [f'multipart/related; type="{DICOM}"; transfer-syntax={s}' for s in (AS_STORED, EXPLICIT)]
    )


def _is_possible(accepted: AcceptedType, instances: Sequence[StoredInstance]) -> bool:
    """Whether all instances are available in the accepted transfer syntax."""
    if accepted.syntax in ("", EXPLICIT):
        return accepted.media == ANY or all(decodable(i.syntax) for i in instances)
    return accepted.syntax == AS_STORED or all(i.syntax == accepted.syntax for i in instances)


def _files(gateway: Gateway, instances: Sequence[StoredInstance], syntax: str) -> Iterator[Part]:
    """Yield instances' files; if `syntax` is given, decode those stored in another one."""
    for instance, pieces in gateway.objects.many(instances):
        sent = instance.syntax
        if syntax and instance.syntax != syntax:
            pieces, sent = _explicit(gateway, instance, pieces), EXPLICIT
        yield f"{DICOM}; transfer-syntax={sent}" if sent else DICOM, pieces


def _explicit(
    gateway: Gateway, instance: StoredInstance, pieces: Iterator[bytes]
) -> Iterator[bytes]:
    large = instance.size > SMALL
    with gateway.cache.open(instance) if large else BytesIO(b"".join(pieces)) as file:
        yield from explicit(file)


def retrieve_metadata(
    gateway: Gateway, request: Request, instances: Sequence[StoredInstance]
) -> Response:
    """Answer with the attributes of instances in the DICOM JSON model (PS3.18 10.4.1.1.2).

    Parameters
    ----------
    gateway
        The gateway.
    request
        The request.
    instances
        The instances to describe.

    Returns
    -------
    Response
        A JSON array with one object for each instance.

    Raises
    ------
    HTTPException
        406 if the client does not accept JSON.
    """
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


def retrieve_bulk(
    gateway: Gateway, request: Request, instance: StoredInstance, path: str
) -> Response:
    """Answer with a bulk data value (PS3.18 10.4.1.1.5).

    Encapsulated pixel data is sent as its frames, as they are stored. Of a value that is not sent
    as multipart, the client may request a range of bytes (RFC 9110 14).

    Parameters
    ----------
    gateway
        The gateway.
    request
        The request.
    instance
        The instance that has the value.
    path
        The last part of the bulk data URL; see `metadata.PATH`.

    Returns
    -------
    Response
        The value.

    Raises
    ------
    HTTPException
        404 if there is no such value, 406 if no accepted media type fits, 416 for a range after
        its end.
    UndecodableError
        The instance cannot be read.
    """
    types = [accepted for accepted in accepted_types(request) if allows(accepted, OCTETS)]
    if not types:
        raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
    # A range is only defined for a single part, so it is preferred if the client accepts one.
    single = is_ranged(request) and any(not accepted.multipart for accepted in types)
    multipart = not single and (types[0].multipart or types[0].media == ANY)
    syntax = EXPLICIT
    if not PATH.fullmatch(path):
        raise HTTPException(404, "no such bulk data")
    with ExitStack() as stack:
        file = stack.enter_context(_open(gateway, instance))
        if path.upper().startswith("7FE0"):
            frames = FrameReader(file)
            if int(path, 16) != frames.tag:
                raise HTTPException(404, "no such bulk data")
            if frames.syntax != EXPLICIT:
                if not multipart and frames.count > 1:
                    raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
                all_frames = _frames(frames, range(1, frames.count + 1))
                parts = _closing_after(all_frames, stack.pop_all())
                if multipart:
                    return _multipart(OCTETS, parts)
                return _stream(chain.from_iterable(pieces for _, pieces in parts), OCTETS)
            value = frames.value
            if frames.swapped:  # send big-endian values as they are stored, like other bulk data
                value, syntax = ValueSpan.of(bulk_value(file, path)), str(ExplicitVRBigEndian)
        else:
            try:
                value = ValueSpan.of(bulk_value(file, path))
            except KeyError:
                raise HTTPException(404, "no such bulk data") from None
        open_files = stack.pop_all()
    if multipart:
        part = f"{OCTETS}; transfer-syntax={syntax}", value.pieces(0, value.size)
        return _multipart(OCTETS, _closing_after([part], open_files))
    start, end, status, headers = select_range(request, value.size)
    response = _stream(_closing_after(value.pieces(start, end), open_files), OCTETS)
    response.status_code = status
    response.headers.update(headers)
    return response


def _frames(frames: FrameReader, numbers: Iterable[int], decoded: bool = False) -> Iterator[Part]:
    syntax = EXPLICIT if decoded else frames.syntax
    media = f"{_MEDIA.get(syntax, OCTETS)}; transfer-syntax={syntax}"
    for number in numbers:
        yield media, [frames.decoded(number) if decoded else frames.stored(number)]


def _closing_after(items: Iterable[T], stack: ExitStack) -> Generator[T, None, None]:
    """Yield items; close the files that they are read from at the end, or when abandoned."""
    with stack:
        yield from items


def retrieve_frames(
    gateway: Gateway, request: Request, instance: StoredInstance, numbers: Sequence[int]
) -> Response:
    """Answer with frames, as they are stored or decoded (PS3.18 10.4.1.1.6).

    Parameters
    ----------
    gateway
        The gateway.
    request
        The request; its accepted media types decide whether frames are decoded, and whether the
        answer is multipart.
    instance
        The instance.
    numbers
        Numbers of the frames, from 1.

    Returns
    -------
    Response
        A multipart body, or a single frame if the client prefers it.

    Raises
    ------
    HTTPException
        404 if the instance has fewer frames, 406 if no accepted media type fits.
    UndecodableError
        The instance is not an image, or cannot be read or decoded.
    """
    with ExitStack() as stack:
        frames = FrameReader(stack.enter_context(_open(gateway, instance)))
        if max(numbers) > frames.count:
            raise HTTPException(404, f"the instance has only {frames.count} frames")
        for accepted in accepted_types(request):
            stored = _MEDIA.get(frames.syntax, OCTETS)
            uncompressed = frames.syntax == EXPLICIT
            wants_stored = (
                accepted.syntax in (AS_STORED, frames.syntax)
                or (accepted.media == ANY and not accepted.syntax)
                or (accepted.media == stored and not accepted.syntax and not uncompressed)
            )
            wants_explicit = accepted.syntax in ("", EXPLICIT)
            if wants_stored and allows(accepted, OCTETS if accepted.media == OCTETS else stored):
                decoded = False
            elif allows(accepted, OCTETS) and wants_explicit and decodable(frames.syntax):
                decoded = not uncompressed
            else:
                continue
            multipart = accepted.multipart or accepted.media == ANY
            if not multipart and len(numbers) > 1:
                continue
            parts = _closing_after(_frames(frames, numbers, decoded), stack.pop_all())
            if multipart:
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
    """Answer with rendered frames (PS3.18 10.4.1.1.3) or a thumbnail (10.4.1.1.4).

    A multipart answer has all the frames. Any other has one image: the first frame of the first
    instance or, for a thumbnail, of the instance in the middle.

    Parameters
    ----------
    gateway
        The gateway.
    request
        The request; its query parameters are those of `RenderOptions.parse`.
    instances
        The instances to render.
    numbers
        Numbers of the frames, from 1; empty for all.
    edge
        Width and height of the thumbnail's viewport, in pixels; 0 for the image's own size.

    Returns
    -------
    Response
        JPEG or PNG images.

    Raises
    ------
    HTTPException
        400 for invalid parameters, 404 for a frame that does not exist, 406 if no accepted media
        type fits.
    UndecodableError
        There is no image, or it cannot be decoded or rendered.
    """
    try:
        options = RenderOptions.parse(request.query_params, edge)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    for accepted in accepted_types(request):
        media = next((image for image in FORMATS if allows(accepted, image)), "")
        if not media or (accepted.multipart and edge):
            continue
        if accepted.multipart:
            return _multipart(media, _rendered_frames(gateway, instances, numbers, options, media))
        break
    else:
        multipart = [f'multipart/related; type="{image}"' for image in FORMATS]
        raise not_acceptable([*FORMATS, *multipart])
    if len(numbers) > 1:
        raise HTTPException(400, f'several frames need Accept: multipart/related; type="{media}"')
    instance = instances[len(instances) // 2] if edge else instances[0]
    with _open(gateway, instance) as file:
        return Response(
            _rendered_frame(FrameReader(file), (numbers or [1])[0], options, media),
            media_type=media,
        )


def _rendered_frames(
    gateway: Gateway,
    instances: Sequence[StoredInstance],
    numbers: Sequence[int],
    options: RenderOptions,
    media: str,
) -> Iterator[Part]:
    """Yield the rendered frames of those instances that are images."""
    none = True
    for instance in instances:
        with _open(gateway, instance) as file:
            try:
                frames = FrameReader(file)
            except UndecodableError:
                continue  # for example a report among the images of a study
            for number in numbers or range(1, frames.count + 1):
                none = False
                yield media, [_rendered_frame(frames, number, options, media)]
    if none:
        raise UndecodableError("none of the requested instances is an image")


def _rendered_frame(frames: FrameReader, number: int, options: RenderOptions, media: str) -> bytes:
    try:
        return render(frames, number, options, media)
    except IndexError:
        raise HTTPException(404, f"the instance has no frame {number}") from None


def _open(gateway: Gateway, instance: StoredInstance) -> BinaryIO:
    """Open an instance's file; cache large and multi-frame ones for the requests that follow."""
    if instance.frames > 1 or instance.size > SMALL:
        return gateway.cache.open(instance)
    return BytesIO(gateway.objects.read(instance))


def _multipart(media: str, parts: Iterable[Part]) -> Response:
    """Answer with a multipart body (RFC 2387) whose parts are of the type `media`."""
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
    """Answer in pieces; the first one is made here, so that its errors still set the status."""
    remaining = iter(pieces)
    first = list(islice(remaining, 1))
    response = StreamingResponse(chain(first, remaining), media_type=media)
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["Accept-Ranges"] = "none"
    return response
