"""Requests for storage commitment, on disk until they are answered (PS3.4 annex J).

They hold original UIDs, so their folder is private and lies beside the receiver's.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom.filereader import read_dataset

from pacsgrid.dimse.presentation_contexts import IMPLICIT
from pacsgrid.disk import open_private, sync_directory
from pacsgrid.pacs.storage_scp.incoming import InvalidInstanceError
from pacsgrid.uids import is_archived_uid

REQUEST_COMMITMENT = 1  # action type ID (PS3.4 table J.3-1)
MOST_REQUEST = 32 << 20
_SUFFIX = ".json"


@dataclass(frozen=True)
class CommitmentRequest:
    """A request.

    Attributes
    ----------
    peer
        The AE title that asked.
    transaction
        Transaction UID (0008,1195).
    items
        SOP Class UID and SOP Instance UID of each instance.
    at
        When it was asked, in seconds since the epoch.
    next
        When it is to be looked at again.
    tries
        How often its answer did not arrive.
    """

    peer: str
    transaction: str
    items: tuple[tuple[str, str], ...]
    at: float
    next: float = 0.0
    tries: int = 0


class CommitmentRequests:
    """The requests that wait for an answer; several processes may use them.

    Parameters
    ----------
    folder
        The receiver's folder.
    peers
        The AE titles that may ask.
    """

    def __init__(self, folder: Path, peers: Collection[str] = ()) -> None:
        self.peers = frozenset(peers)
        self._folder = folder.with_name(f"{folder.name}.commitments")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, peer: str, dataset: bytes, syntax: str) -> None:
        """Keep a request; it is on disk when this returns, and the same one again changes nothing.

        Parameters
        ----------
        peer
            The AE title that asks.
        dataset
            The encoded action information (PS3.4 table J.3-2).
        syntax
            Its transfer syntax UID.

        Raises
        ------
        InvalidInstanceError
            It is malformed, names no instance, or holds what is no UID.
        OSError
            It cannot be written.
        """
        try:
            ds = read_dataset(BytesIO(dataset), syntax == IMPLICIT, is_little_endian=True)
            transaction = str(ds.TransactionUID)
            items = tuple(
                (str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
                for one in ds.ReferencedSOPSequence
            )
        except Exception as error:  # pydicom raises any type of exception for malformed data
            raise InvalidInstanceError(f"it is malformed: {type(error).__name__}") from None
        uids = (transaction, *(uid for item in items for uid in item))
        if not items or not all(map(is_archived_uid, uids)):
            raise InvalidInstanceError("it names no instance, or holds what is no UID")
        request = CommitmentRequest(peer, transaction, items, time.time())
        if not self._path(request).exists():
            self.save(request)

    def _path(self, request: CommitmentRequest) -> Path:
        name = f"{request.peer}\0{request.transaction}".encode()
        return self._folder / (hashlib.sha256(name).hexdigest() + _SUFFIX)

    def save(self, request: CommitmentRequest) -> None:
        """Write a request, whole or not at all."""
        path = self._path(request)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.unlink(missing_ok=True)
        with open_private(partial, "wb") as file:
            file.write(json.dumps(asdict(request)).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_directory(self._folder)

    def due(self, now: float) -> Iterator[CommitmentRequest]:
        """Yield the requests that are to be looked at, the oldest first."""
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            given = json.loads(path.read_bytes())
            items = tuple((sop_class, sop) for sop_class, sop in given.pop("items"))
            request = CommitmentRequest(items=items, **given)
            if request.next <= now:
                found.append(request)
        yield from sorted(found, key=lambda request: request.at)

    def postpone(self, request: CommitmentRequest, until: float, failed: bool = False) -> None:
        """Look at a request again later.

        Parameters
        ----------
        request
            The request.
        until
            When, in seconds since the epoch.
        failed
            Whether an answer was sent and did not arrive.
        """
        self.save(replace(request, next=until, tries=request.tries + failed))

    def remove(self, request: CommitmentRequest) -> None:
        """Remove a request that was answered."""
        self._path(request).unlink(missing_ok=True)
        sync_directory(self._folder)
