"""STOW-RS: instances into the receiver's folder, from where the ingest takes them (PS3.18 10.5).

They are identified until the ingest has anonymised them, so nothing of them is answered or
logged but the sender's own UIDs, in the answer. Success is told when they are on disk.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import Message
from itertools import chain

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.web.authentication import Caller
from pacsgrid.gateway.web.content_negotiation import DICOM, JSON, MULTIPART, require_json
from pacsgrid.pacs.multipart import MultipartError, MultipartReader, boundary_of
from pacsgrid.pacs.part10 import HEAD, MOST_META, Meta, read_meta
from pacsgrid.pacs.storage_scp.incoming import Arrival, Incoming, InvalidInstanceError
from pacsgrid.pipeline.attributes import Json
from pacsgrid.uids import is_numeric_uid

log = logging.getLogger(__name__)

# Failure Reason (0008,1197): PS3.18 table I.2-2.
PROCESSING_FAILURE, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, MISMATCH = 0x0110, 0xA700, 0xC000, 0xA900
_BUSY_SECONDS = "60"
_CLOSE = {"Connection": "close"}
_TAKEN = f'multipart/related; type="{DICOM}", {DICOM}'
# Requests that bring instances at once, in all and as one iRODS user.
_MOST_AT_ONCE, _MOST_OF_USER = 64, 48
# Bytes a second that a body has to come with in the long run.
_LEAST_RATE = 8 << 10
MOST_PARTS = 20_000
# Bytes of a deflated data set that are inflated to read it.
MOST_INFLATED = 192 << 20
_STEP = 1 << 20


@dataclass
class StoreOutcome:
    """What became of a request's instances: SOP class, SOP instance and reason of failure."""

    stored: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str, int]] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def dataset(self) -> Json:
        """Return the answer's dataset (PS3.18 table I.2-1), in the DICOM JSON model."""

        def item(sop_class: str, sop: str, reason: int = 0) -> Json:
            told = {"00081150": _ui(sop_class), "00081155": _ui(sop)}
            if reason:
                told["00081197"] = {"vr": "US", "Value": [reason]}
            return told

        found: Json = {"00081190": {"vr": "UR"}}
        if self.failed:
            found["00081198"] = {"vr": "SQ", "Value": [item(*one) for one in self.failed]}
        if self.stored:
            found["00081199"] = {"vr": "SQ", "Value": [item(*one) for one in self.stored]}
        if self.others:
            reasons = [{"00081197": {"vr": "US", "Value": [one]}} for one in self.others]
            found["0008119A"] = {"vr": "SQ", "Value": reasons}
        return found

    def __bool__(self) -> bool:
        return bool(self.stored or self.failed or self.others)

    @property
    def status(self) -> int:
        """200 when all were stored, 202 when some were, 409 when none was."""
        if not self.failed and not self.others:
            return 200
        return 202 if self.stored else 409


def _ui(uid: str) -> Json:
    return {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}


class StoreService:
    """The requests that bring instances, apart from those that read.

    Each occupies a thread while its body comes, which may take long; threads of their own keep
    them from those that searches and retrievals need.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stalled = gateway.settings.stalled_seconds
        self._limiter: anyio.CapacityLimiter | None = None
        self._of_user: Counter[str] = Counter()

    async def store(self, caller: Caller, request: Request) -> Response:
        """Take the instances of a request.

        Raises
        ------
        HTTPException
            403 for who may not send; 408, 413, 415 and 400 for what is sent; 503 when there is no
            room.
        """
        if not caller.store:
            raise HTTPException(403, "this token may not store")
        receiver = self._gateway.site.receiver
        if receiver is None:
            raise HTTPException(503, "this gateway stores nothing: the site has no receiver")
        require_json(request)
        boundary = _boundary(request)
        most = self._gateway.settings.most_upload_mb << 20
        length = request.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise HTTPException(400, "Content-Length is no number")
        if int(length) > most:
            raise HTTPException(
                413, f"a request may have up to {most >> 20} MiB; send fewer instances"
            )
        if self._of_user[caller.user] >= _MOST_OF_USER:
            raise HTTPException(503, "send less at once", {"Retry-After": _BUSY_SECONDS})
        study = request.path_params.get("study", "")
        body = RequestBody(request, most, self._stalled)

        def work() -> StoreOutcome:
            try:
                with closing(Incoming(receiver.folder, receiver.reserve_mb << 20)) as incoming:
                    if not incoming.has_room():
                        raise HTTPException(503, "no room now", {"Retry-After": _BUSY_SECONDS})
                    return _take(incoming, body.pieces(), boundary, study)
            except OSError as error:
                log.error("instances cannot be taken: errno %s", error.errno)
                raise HTTPException(503, "no room now", {"Retry-After": _BUSY_SECONDS}) from None

        # A limiter belongs to the loop that is running.
        self._limiter = self._limiter or anyio.CapacityLimiter(_MOST_AT_ONCE)
        self._of_user[caller.user] += 1
        try:
            outcome = await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._of_user[caller.user] -= 1
        if not outcome:
            raise HTTPException(400, "the request has no instance")
        refused = len(outcome.failed + outcome.others)
        log.info("%d instances stored, %d refused", len(outcome.stored), refused)
        return JSONResponse(outcome.dataset(), outcome.status, media_type=JSON)


def _boundary(request: Request) -> bytes | None:
    """Return the boundary of the parts; None where the body is one instance.

    Raises
    ------
    HTTPException
        415 for what is not taken, 400 for parts without a boundary.
    """
    message = Message()
    message["Content-Type"] = request.headers.get("Content-Type", "")
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise HTTPException(415, "send it without a content encoding", {"Accept-Encoding": ""})
    if media == DICOM:
        return None
    kind = message.get_param("type", DICOM) if media == MULTIPART else media
    if str(kind).strip('" ').partition(";")[0].strip().lower() != DICOM:
        raise HTTPException(415, f'send multipart/related; type="{DICOM}"', {"Accept": _TAKEN})
    try:
        return boundary_of(request.headers.get("Content-Type", ""))
    except MultipartError:
        raise HTTPException(400, "Content-Type names no boundary") from None


class RequestBody:
    """A request's body, for a thread that reads it; slow and endless ones are refused."""

    def __init__(self, request: Request, most: int, stalled: float) -> None:
        self._stream = aiter(request.stream())
        self._most = most
        self._stalled = stalled
        self._total = 0
        self._since = 0.0

    async def _piece(self) -> bytes:
        # Whoever sends a little now and then has to keep to a rate in the long run.
        now = anyio.current_time()
        self._since = self._since or now
        owed = self._since + self._stalled + self._total / _LEAST_RATE - now
        try:
            with anyio.fail_after(max(0.0, min(self._stalled, owed))):
                return await anext(self._stream, b"")
        except TimeoutError:
            raise HTTPException(408, "the request comes too slowly", _CLOSE) from None
        except ClientDisconnect:
            raise HTTPException(400, "the request was cut off") from None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes; called in a worker thread.

        Raises
        ------
        HTTPException
            400, 408 or 413.
        """
        # Chunks may be empty; the end is told by the stream, not by one.
        while data := anyio.from_thread.run(self._piece):
            self._total += len(data)
            if self._total > self._most:
                raise HTTPException(413, f"a request may have up to {self._most >> 20} MiB")
            yield data


def _take(
    incoming: Incoming, pieces: Iterator[bytes], boundary: bytes | None, study: str
) -> StoreOutcome:
    outcome = StoreOutcome()
    waiting: list[tuple[str, str]] = []
    try:
        if boundary is None:
            _take_one(incoming, pieces, study, outcome, waiting)
        else:
            for number, (headers, content) in enumerate(MultipartReader(pieces, boundary).parts()):
                if number >= MOST_PARTS:
                    raise HTTPException(413, f"a request may have up to {MOST_PARTS} parts")
                if headers.get("content-type", DICOM).partition(";")[0].strip().lower() != DICOM:
                    outcome.others.append(CANNOT_UNDERSTAND)
                    continue
                _take_one(incoming, content, study, outcome, waiting)
    except MultipartError as error:
        raise HTTPException(400, f"the body is not multipart: {error}") from None
    finally:
        # What came whole is kept even if the rest was cut off: the sender sends it again.
        try:
            incoming.flush()
            outcome.stored += waiting
        except OSError as error:
            log.error("instances cannot be brought to disk: errno %s", error.errno)
            outcome.failed += [(*one, OUT_OF_RESOURCES) for one in waiting]
            with suppress(OSError):
                incoming.flush()  # the first one may have failed of what came before the rest
    return outcome


def _take_one(
    incoming: Incoming,
    content: Iterator[bytes | memoryview],
    study: str,
    outcome: StoreOutcome,
    waiting: list[tuple[str, str]],
) -> None:
    head, meta = _head(content)
    if meta is None:
        if head or outcome or waiting:
            outcome.others.append(CANNOT_UNDERSTAND)
        return
    named = (meta.sop_class, meta.sop_uid)
    if not all(is_numeric_uid(uid) for uid in (*filter(None, named), meta.transfer_syntax)):
        # They would stand in a file's head, in paths and in the answer.
        outcome.others.append(CANNOT_UNDERSTAND)
        return
    arrival: Arrival | None = None
    try:
        arrival = incoming.begin(meta.sop_class, meta.sop_uid, meta.transfer_syntax)
        for piece in chain((memoryview(head)[meta.end :],), content):
            arrival.write(piece)
        found = incoming.study_of(arrival)
        if not is_numeric_uid(found):
            raise InvalidInstanceError("its StudyInstanceUID is no UID")
        if study and found != study:
            outcome.failed.append((*named, MISMATCH))
            return
        incoming.finish(arrival)
        arrival = None
        waiting.append(named)
    except InvalidInstanceError:
        outcome.failed.append((*named, CANNOT_UNDERSTAND))
    except OSError as error:
        log.error("an instance cannot be written: errno %s", error.errno)
        outcome.failed.append((*named, OUT_OF_RESOURCES))
    finally:
        # Whatever happened: what was not finished leaves neither file nor descriptor.
        if arrival is not None:
            arrival.discard()


def _head(content: Iterator[bytes | memoryview]) -> tuple[bytes, Meta | None]:
    """Return a part's first bytes and its file meta information, None where it has none."""
    head = bytearray()
    looked = 0
    for piece in content:
        head += piece
        # Whoever sends byte by byte must not have it read anew each time.
        if len(head) >= 2 * looked:
            looked = len(head)
            meta = read_meta(bytes(head))
            if meta and meta.end:
                return bytes(head), meta
        if len(head) >= HEAD + MOST_META:
            break
    meta = read_meta(bytes(head))
    return bytes(head), meta if meta and meta.end else None
