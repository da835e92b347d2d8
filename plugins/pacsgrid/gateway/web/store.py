"""STOW-RS: instances into the receiver's folder, from where the ingest takes them (PS3.18 10.5).

They are identified until the ingest has anonymised them, so nothing of them is answered or
logged but the sender's own UIDs, in the answer. Success is told when they are on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.web.accept import DICOM, JSON, insist_json
from pacsgrid.gateway.web.caller import Caller
from pacsgrid.pacs.multipart import MultipartError, MultipartReader, boundary_of
from pacsgrid.pacs.part10 import HEAD, MOST_META, read_meta
from pacsgrid.pacs.receiver.incoming import Arrival, Incoming, NotUnderstood
from pacsgrid.pipeline.attributes import Json

log = logging.getLogger(__name__)

# Failure Reason (0008,1197): PS3.18 table I.2-2.
PROCESSING_FAILURE, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, MISMATCH = 0x0110, 0xA700, 0xC000, 0xA900
_BUSY_SECONDS = "60"


@dataclass
class Outcome:
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

    @property
    def status(self) -> int:
        """200 when all were stored, 202 when some were, 409 when none was."""
        if not self.failed and not self.others:
            return 200
        return 202 if self.stored else 409


def _ui(uid: str) -> Json:
    return {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}


async def store(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """Take the instances of a request.

    Raises
    ------
    HTTPException
        403 for who may not send, 415, 413 and 400 for what is sent, 503 when there is no room.
    """
    if not caller.store:
        raise HTTPException(403, "this token may not store")
    receiver = gateway.site.receiver
    if receiver is None:
        raise HTTPException(503, "this gateway stores nothing: the site has no receiver")
    insist_json(request)
    kind = request.headers.get("Content-Type", "")
    media = kind.partition(";")[0].strip().lower()
    if media == DICOM:
        boundary = None
    else:
        try:
            boundary = boundary_of(kind)
        except MultipartError:
            raise HTTPException(415, f'send multipart/related; type="{DICOM}"') from None
    most = gateway.settings.most_upload_mb << 20
    if int(request.headers.get("Content-Length") or 0) > most:
        raise HTTPException(413, f"a request may have up to {most >> 20} MiB; send fewer instances")
    study = request.path_params.get("study", "")
    body = aiter(request.stream())

    async def piece() -> bytes:
        try:
            return await anext(body, b"")
        except ClientDisconnect:
            raise HTTPException(400, "the request was cut off") from None

    def pieces() -> Iterator[bytes]:
        total = 0
        while True:
            data = anyio.from_thread.run(piece)
            # Chunks may be empty; the end is told by the stream, not by one.
            if not data:
                return
            total += len(data)
            if total > most:
                raise HTTPException(413, f"a request may have up to {most >> 20} MiB")
            yield data

    def work() -> Outcome:
        with closing(Incoming(receiver.folder, receiver.reserve_mb << 20)) as incoming:
            if not incoming.has_room():
                raise HTTPException(503, "no room now", {"Retry-After": _BUSY_SECONDS})
            return _take(incoming, pieces(), boundary, study)

    outcome = await anyio.to_thread.run_sync(work)
    log.info(
        "%d instances stored, %d refused", len(outcome.stored), len(outcome.failed + outcome.others)
    )
    return JSONResponse(outcome.dataset(), outcome.status, media_type=JSON)


def _take(
    incoming: Incoming, pieces: Iterator[bytes], boundary: bytes | None, study: str
) -> Outcome:
    outcome = Outcome()
    waiting: list[tuple[str, str]] = []
    try:
        if boundary is None:
            _take_one(incoming, pieces, study, outcome, waiting)
        else:
            for headers, content in MultipartReader(pieces, boundary).parts():
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
    return outcome


def _take_one(
    incoming: Incoming,
    content: Iterator[bytes | memoryview],
    study: str,
    outcome: Outcome,
    waiting: list[tuple[str, str]],
) -> None:
    head, meta = b"", None
    while (meta is None or not meta.end) and len(head) < HEAD + MOST_META:
        piece = next(content, None)
        if piece is None:
            break
        head += piece
        meta = read_meta(head)
    if meta is None or not meta.end:
        outcome.others.append(CANNOT_UNDERSTAND)
        return
    named = (meta.sop_class, meta.sop_uid)
    arrival: Arrival | None = None
    try:
        arrival = incoming.begin(meta.sop_class, meta.sop_uid, meta.transfer_syntax)
        arrival.write(head[meta.end :])
        for piece in content:
            arrival.write(piece)
        if study and incoming.study_of(arrival) != study:
            arrival.drop()
            outcome.failed.append((*named, MISMATCH))
            return
        incoming.finish(arrival)
        waiting.append(named)
    except NotUnderstood:
        outcome.failed.append((*named, CANNOT_UNDERSTAND))
        _drop(arrival)
    except OSError as error:
        log.error("an instance cannot be written: errno %s", error.errno)
        outcome.failed.append((*named, OUT_OF_RESOURCES))
        _drop(arrival)
    except BaseException:
        _drop(arrival)
        raise


def _drop(arrival: Arrival | None) -> None:
    if arrival is not None:
        arrival.drop()
