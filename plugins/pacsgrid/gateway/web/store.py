"""STOW-RS: store instances in the receiver's folder, for the ingest (PS3.18 10.5).

They are not anonymised yet. The log therefore contains no value of them, and the answer nothing
but the sender's own UIDs. An instance is reported as stored once it is on disk.
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
from pacsgrid.gateway.results import RefusedResultError
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
_ACCEPTED = f'multipart/related; type="{DICOM}", {DICOM}'
# Simultaneous requests, in total and of one iRODS user.
_MOST_AT_ONCE, _MOST_OF_USER = 64, 48
# Bytes a second at which a client has to send, on average.
_LEAST_RATE = 8 << 10
MOST_PARTS = 20_000


@dataclass
class StoreOutcome:
    """The result of a request.

    Attributes
    ----------
    stored
        SOP Class UID and SOP Instance UID of each stored instance.
    failed
        The same of each instance that is not stored, with its Failure Reason (0008,1197) and,
        where there is one, an Error Comment (0000,0902).
    others
        Failure Reasons of parts that are not recognised as instances.
    """

    stored: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str, int] | tuple[str, str, int, str]] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def dataset(self) -> Json:
        """Return the answer (PS3.18 table I.2-1) in the DICOM JSON model."""

        def item(sop_class: str, sop: str, reason: int = 0, comment: str = "") -> Json:
            attributes = {"00081150": _ui(sop_class), "00081155": _ui(sop)}
            if reason:
                attributes["00081197"] = {"vr": "US", "Value": [reason]}
            if comment:
                # As other archives do, since PS3.18 has no text for a failure.
                attributes["00000902"] = {"vr": "LO", "Value": [comment]}
            return attributes

        answer: Json = {"00081190": {"vr": "UR"}}
        if self.failed:
            items = [item(*instance) for instance in self.failed]
            answer["00081198"] = {"vr": "SQ", "Value": items}
        if self.stored:
            items = [item(*instance) for instance in self.stored]
            answer["00081199"] = {"vr": "SQ", "Value": items}
        if self.others:
            items = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in self.others]
            answer["0008119A"] = {"vr": "SQ", "Value": items}
        return answer

    def __bool__(self) -> bool:
        """Whether the request had any parts."""
        return bool(self.stored or self.failed or self.others)

    @property
    def status(self) -> int:
        """HTTP status: 200 if all instances were stored, 202 if some were, 409 if none was."""
        if not self.failed and not self.others:
            return 200
        return 202 if self.stored else 409


def _ui(uid: str) -> Json:
    return {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}


class StoreService:
    """Handles requests to store instances.

    A request occupies a thread while its body arrives, which may take long. These threads are
    limited separately, so that there are always threads for searches and retrievals.

    Parameters
    ----------
    gateway
        The gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stalled = gateway.settings.stalled_seconds
        self._limiter: anyio.CapacityLimiter | None = None
        self._of_user: Counter[str] = Counter()

    async def store(self, caller: Caller, request: Request) -> Response:
        """Store the instances of a request.

        Parameters
        ----------
        caller
            Who sends them.
        request
            The request, with one instance or a multipart body.

        Returns
        -------
        Response
            The outcome for each instance, in JSON.

        Raises
        ------
        HTTPException
            403 if the caller may not store. 400, 406, 408, 413 or 415 if the request is malformed,
            too slow, too large or in another media type. 503 if there is no receiver, or no room
            on its disk, or the user sends too many requests at once.
        """
        if not (caller.store or caller.results):
            raise HTTPException(
                403,
                "this token may not store instances; see store and results in the gateway's "
                "settings",
            )
        receiver = self._gateway.site.receiver
        if receiver is None and not caller.results:
            raise HTTPException(
                503, "this gateway cannot store instances: the site file has no receiver"
            )
        require_json(request)
        boundary = _boundary(request)
        most = self._gateway.settings.most_upload_mb << 20
        length = request.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise HTTPException(400, "Content-Length must be a number")
        if int(length) > most:
            raise HTTPException(
                413, f"the request is larger than {most >> 20} MiB; send fewer instances at once"
            )
        if self._of_user[caller.user] >= _MOST_OF_USER:
            raise HTTPException(
                503,
                f"{_MOST_OF_USER} requests of this user are being stored; try again later",
                {"Retry-After": _BUSY_SECONDS},
            )
        study = request.path_params.get("study", "")
        body = RequestBody(request, most, self._stalled)

        def open_folder() -> Incoming:
            if caller.results or receiver is None:
                return self._gateway.results.incoming(caller.user, caller.results)
            return Incoming(receiver.folder, receiver.reserve_mb << 20)

        def work() -> StoreOutcome:
            try:
                with closing(open_folder()) as incoming:
                    if not incoming.has_room():
                        raise _no_room()
                    return _store_body(incoming, body.pieces(), boundary, study)
            except OSError as error:
                log.error("instances cannot be stored: errno %s", error.errno)
                raise _no_room() from None

        # A limiter belongs to one event loop, which runs only now.
        self._limiter = self._limiter or anyio.CapacityLimiter(_MOST_AT_ONCE)
        self._of_user[caller.user] += 1
        try:
            outcome = await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._of_user[caller.user] -= 1
        if not outcome:
            raise HTTPException(400, "the request contains no instance")
        refused = len(outcome.failed + outcome.others)
        log.info("%d instances stored, %d refused", len(outcome.stored), refused)
        return JSONResponse(outcome.dataset(), outcome.status, media_type=JSON)


def _no_room() -> HTTPException:
    return HTTPException(
        503,
        "the gateway has no room for instances now; try again later",
        {"Retry-After": _BUSY_SECONDS},
    )


def _boundary(request: Request) -> bytes | None:
    """Return the boundary of a multipart body; None if the body is one instance.

    Raises
    ------
    HTTPException
        415 for any other media type or a content encoding, 400 for multipart without a boundary.
    """
    message = Message()
    message["Content-Type"] = request.headers.get("Content-Type", "")
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise HTTPException(
            415, "send the instances without a content encoding", {"Accept-Encoding": ""}
        )
    if media == DICOM:
        return None
    kind = message.get_param("type", DICOM) if media == MULTIPART else media
    if str(kind).strip('" ').partition(";")[0].strip().lower() != DICOM:
        raise HTTPException(
            415, f'send the instances as multipart/related; type="{DICOM}"', {"Accept": _ACCEPTED}
        )
    try:
        return boundary_of(request.headers.get("Content-Type", ""))
    except MultipartError:
        raise HTTPException(400, "Content-Type lacks a valid boundary") from None


class RequestBody:
    """The body of a request, to be read in a worker thread; refuses slow and large ones.

    Parameters
    ----------
    request
        The request.
    most
        Bytes that the body may have.
    stalled
        Seconds for which a client may send nothing.
    """

    def __init__(self, request: Request, most: int, stalled: float) -> None:
        self._stream = aiter(request.stream())
        self._most = most
        self._stalled = stalled
        self._total = 0
        self._since = 0.0

    async def _piece(self) -> bytes:
        # The average rate matters too: otherwise a few bytes now and then would keep a thread busy.
        now = anyio.current_time()
        self._since = self._since or now
        left = self._since + self._stalled + self._total / _LEAST_RATE - now
        try:
            with anyio.fail_after(max(0.0, min(self._stalled, left))):
                return await anext(self._stream, b"")
        except TimeoutError:
            raise HTTPException(408, "the request arrives too slowly", _CLOSE) from None
        except ClientDisconnect:
            raise HTTPException(400, "the client closed the connection") from None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives; call this in a worker thread.

        Raises
        ------
        HTTPException
            400 if the client closes the connection, 408 if it sends too slowly, 413 if the body is
            too large.
        """
        # `_piece` returns an empty piece at the end of the body.
        while data := anyio.from_thread.run(self._piece):
            self._total += len(data)
            if self._total > self._most:
                raise HTTPException(
                    413,
                    f"the request is larger than {self._most >> 20} MiB; send fewer instances at"
                    " once",
                )
            yield data


def _store_body(
    incoming: Incoming, pieces: Iterator[bytes], boundary: bytes | None, study: str
) -> StoreOutcome:
    """Store the instances of a body; the outcome is complete when all of them are on disk.

    `study` is the Study Instance UID that the URL requires; empty if it names none.
    """
    outcome = StoreOutcome()
    # Instances that are written, but not flushed to disk yet.
    unflushed: list[tuple[str, str]] = []
    try:
        if boundary is None:
            _store_instance(incoming, pieces, study, outcome, unflushed)
        else:
            for number, (headers, content) in enumerate(MultipartReader(pieces, boundary).parts()):
                if number >= MOST_PARTS:
                    raise HTTPException(
                        413,
                        f"the request has more than {MOST_PARTS} parts; send fewer instances at"
                        " once",
                    )
                if headers.get("content-type", DICOM).partition(";")[0].strip().lower() != DICOM:
                    outcome.others.append(CANNOT_UNDERSTAND)
                    continue
                _store_instance(incoming, content, study, outcome, unflushed)
    except MultipartError as error:
        raise HTTPException(400, f"the body is not valid multipart: {error}") from None
    finally:
        # Complete instances are kept even if the body is cut off: the sender sends all again.
        try:
            incoming.flush()
            outcome.stored += unflushed
        except OSError as error:
            log.error("instances cannot be flushed to disk: errno %s", error.errno)
            outcome.failed += [(*instance, OUT_OF_RESOURCES) for instance in unflushed]
            with suppress(OSError):
                incoming.flush()  # the failure may concern earlier files only
    return outcome


def _store_instance(
    incoming: Incoming,
    content: Iterator[bytes | memoryview],
    study: str,
    outcome: StoreOutcome,
    unflushed: list[tuple[str, str]],
) -> None:
    """Write one instance; add it to `unflushed`, or the reason why not to `outcome`."""
    head, meta = _head(content)
    if meta is None:
        if head or outcome or unflushed:
            outcome.others.append(CANNOT_UNDERSTAND)
        return
    uids = (meta.sop_class, meta.sop_uid)
    if not all(is_numeric_uid(uid) for uid in (*filter(None, uids), meta.transfer_syntax)):
        # The UIDs are written to a file's header, to paths and to the answer.
        outcome.others.append(CANNOT_UNDERSTAND)
        return
    arrival: Arrival | None = None
    try:
        arrival = incoming.begin(meta.sop_class, meta.sop_uid, meta.transfer_syntax)
        for piece in chain((memoryview(head)[meta.end :],), content):
            arrival.write(piece)
        found = incoming.study_of(arrival)
        if not is_numeric_uid(found):
            raise InvalidInstanceError("its StudyInstanceUID is not a valid UID")
        if study and found != study:
            outcome.failed.append((*uids, MISMATCH))
            return
        incoming.finish(arrival)
        arrival = None
        unflushed.append(uids)
    except RefusedResultError as error:
        outcome.failed.append((*uids, error.status, error.comment))
    except InvalidInstanceError:
        outcome.failed.append((*uids, CANNOT_UNDERSTAND))
    except OSError as error:
        log.error("an instance cannot be written: errno %s", error.errno)
        outcome.failed.append((*uids, OUT_OF_RESOURCES))
    finally:
        # An unfinished instance leaves neither a file nor an open descriptor.
        if arrival is not None:
            arrival.discard()


def _head(content: Iterator[bytes | memoryview]) -> tuple[bytes, Meta | None]:
    """Return a part's first bytes and its file meta information; None if it has none."""
    head = bytearray()
    parsed = 0
    for piece in content:
        head += piece
        # Parsing again only when the length has doubled keeps tiny pieces cheap.
        if len(head) >= 2 * parsed:
            parsed = len(head)
            meta = read_meta(bytes(head))
            if meta and meta.end:
                return bytes(head), meta
        if len(head) >= HEAD + MOST_META:
            break
    meta = read_meta(bytes(head))
    return bytes(head), meta if meta and meta.end else None
