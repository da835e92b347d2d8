"""Answer requests for storage commitment once every replica is proven (PS3.4 annex J).

What is committed is the anonymised instance in the grid, not the one that was sent.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg2
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from pacsgrid.config import Destination, ProjectSettings, ReceiverSettings, Site, read_key
from pacsgrid.deid import Pseudonyms
from pacsgrid.dimse import pdu, requestor, status
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    COMMAND_FIELD,
    EVENT_TYPE,
    MESSAGE_ID,
    N_EVENT_REPORT,
    RESPONSE,
    STATUS,
)
from pacsgrid.dimse.exceptions import (
    AssociationFailedError,
    AssociationRejectedError,
    AssociationReleasedError,
    ConnectionLostError,
    PeerStalledError,
    ProtocolError,
)
from pacsgrid.dimse.pdu import ProposedContext
from pacsgrid.dimse.presentation_contexts import (
    EXPLICIT,
    IMPLICIT,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
)
from pacsgrid.dimse.tls import client_tls
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.codes import GIVEN_UP
from pacsgrid.model import StudyState
from pacsgrid.pacs.storage_scp.commitment_requests import CommitmentRequest, CommitmentRequests

log = logging.getLogger(__name__)

# Event type IDs (PS3.4 table J.3-3).
_SUCCESSFUL, _FAILURES_EXIST = 1, 2
# How long an answer is sent again to a peer that does not take it, in seconds.
_DELIVERY_SECONDS = 7 * 86400.0
_LONGEST_PAUSE = 3600.0


@dataclass(frozen=True)
class Custody:
    """What is known of the instances of a request.

    Attributes
    ----------
    safe
        SOP Class UID and SOP Instance UID of those whose every replica is proven.
    failed
        The same of those that never will be, with their Failure Reason (0008,1197).
    waiting
        The same of those that may be later, with the reason if they are not.
    """

    safe: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str, int], ...]
    waiting: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class _Space:
    """A project's pseudonyms, and how many replicas it needs by zone."""

    name: str
    pseudonyms: Pseudonyms
    copies: Mapping[str, int]


class CommitmentService:
    """Looks after the requests of a site's receiver.

    Parameters
    ----------
    site
        The site settings.

    Raises
    ------
    ConfigError
        The site has no receiver, or a project's key cannot be read.
    """

    def __init__(self, site: Site) -> None:
        if site.receiver is None:
            raise ConfigError("the site file has no 'receiver' section")
        self._settings: ReceiverSettings = site.receiver
        self._requests = CommitmentRequests(site.receiver.folder)
        self._ledger = Ledger(site.ledger_dsn, "storage commitment")
        names = [site.receiver.project] if site.receiver.project else list(site.projects)
        self._spaces = [_space(site, site.project(name)) for name in names]

    def run_once(self, now: float | None = None) -> int:
        """Look at every request that is due, and answer those that are decided.

        Parameters
        ----------
        now
            The current time, in seconds since the epoch.

        Returns
        -------
        int
            How many requests were answered.
        """
        now = time.time() if now is None else now
        answered = 0
        for request in self._requests.due(now):
            custody = self.custody(request.items)
            expired = now - request.at > self._settings.commitment_hours * 3600
            if custody.waiting and not expired:
                self._requests.postpone(request, now + self._settings.commitment_seconds)
                continue
            failed = (*custody.failed, *custody.waiting)
            try:
                self._send(request, custody.safe, failed)
            except PacsgridError as error:
                self._not_sent(request, now, error)
                continue
            self._requests.remove(request)
            answered += 1
            log.info(
                "storage commitment to %s: %d instances safe, %d not",
                request.peer,
                len(custody.safe),
                len(failed),
            )
        return answered

    def _not_sent(self, request: CommitmentRequest, now: float, error: PacsgridError) -> None:
        """Try again later, each time after twice as long; give up after a week."""
        limit = self._settings.commitment_hours * 3600 + _DELIVERY_SECONDS
        if now - request.at > limit:
            log.error("storage commitment to %s is given up: %s", request.peer, error)
            self._requests.remove(request)
            return
        log.warning("storage commitment to %s: %s; tried again later", request.peer, error)
        pause = min(self._settings.commitment_seconds * 2**request.tries, _LONGEST_PAUSE)
        self._requests.postpone(request, now + pause, failed=True)

    def custody(self, items: Sequence[tuple[str, str]]) -> Custody:
        """Return what is known of instances, by their original UIDs.

        Parameters
        ----------
        items
            SOP Class UID and SOP Instance UID of each.
        """
        safe: list[tuple[str, str]] = []
        failed: list[tuple[str, str, int]] = []
        waiting: list[tuple[str, str, int]] = []
        good: dict[str, Counter[tuple[str, str]]] = {}
        for sop_class, sop in items:
            reason, later = self._judge(sop, good)
            if not reason:
                safe.append((sop_class, sop))
            elif later:
                waiting.append((sop_class, sop, reason))
            else:
                failed.append((sop_class, sop, reason))
        return Custody(tuple(safe), tuple(failed), tuple(waiting))

    def _judge(self, sop: str, good: dict[str, Counter[tuple[str, str]]]) -> tuple[int, bool]:
        """Return why an instance is not safe, 0 if it is, and whether it may become so.

        `good` keeps the number of proven replicas by instance and zone, for each study.
        """
        reason, later = status.NO_SUCH_INSTANCE, True
        for space in self._spaces:
            uid = space.pseudonyms.uid(sop)
            for ref in self._ledger.studies.find_by_pseudonym(space.name, uid):
                if ref not in good:
                    proofs = self._ledger.proofs.of_study(ref)
                    good[ref] = Counter((one.sop_uid, one.zone) for one in proofs if one.good)
                state = self._ledger.studies.state(ref)
                gone = state is StudyState.WITHDRAWN or (
                    state is StudyState.HELD and self._ledger.studies.held_code(ref) in GIVEN_UP
                )
                if not gone and all(
                    good[ref][uid, zone] >= copies for zone, copies in space.copies.items()
                ):
                    return 0, False
                reason, later = status.PROCESSING_FAILURE, not gone
        return reason, later

    def _send(
        self,
        request: CommitmentRequest,
        safe: Sequence[tuple[str, str]],
        failed: Sequence[tuple[str, str, int]],
    ) -> None:
        """Send the answer as an N-EVENT-REPORT (PS3.4 J.3.3) over an association of its own."""
        peer = next((p for p in self._settings.commitment if p.ae_title == request.peer), None)
        if peer is None:
            raise ConfigError("receiver.commitment does not name this node any more")
        contexts = (ProposedContext(1, STORAGE_COMMITMENT, (EXPLICIT, IMPLICIT)),)
        role = pdu.encode_role(STORAGE_COMMITMENT, scu=False, scp=True)
        try:
            with requestor.open_association(self._association(peer), contexts, role) as opened:
                channel, accepted = opened
                if 1 not in accepted.syntaxes:
                    raise PacsgridError("it accepts no answers to storage commitment requests")
                command: dict[int, int | str] = {
                    AFFECTED_SOP_CLASS: STORAGE_COMMITMENT,
                    COMMAND_FIELD: N_EVENT_REPORT,
                    MESSAGE_ID: 1,
                    AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
                    EVENT_TYPE: _FAILURES_EXIST if failed else _SUCCESSFUL,
                }
                body = _event(request.transaction, safe, failed, accepted.syntaxes[1])
                channel.send(1, command, (body,))
                answer = channel.receive()
                if answer.field != N_EVENT_REPORT | RESPONSE or answer.number(STATUS):
                    raise PacsgridError("it did not confirm the answer")
        except AssociationRejectedError as error:
            raise PacsgridError(f"it rejects the association: {error}") from None
        except (
            AssociationFailedError,
            AssociationReleasedError,
            ConnectionLostError,
            PeerStalledError,
            ProtocolError,
        ) as error:
            raise PacsgridError(f"the answer did not arrive: {type(error).__name__}") from None

    def _association(self, peer: Destination) -> AssociationSettings:
        files = (peer.ca_file, peer.cert_file, peer.key_file)
        return AssociationSettings(
            peer.host,
            peer.port,
            peer.ae_title,
            self._settings.ae_title,
            client_tls(f"receiver.commitment {peer.ae_title}", *files) if peer.tls else None,
            connect_seconds=self._settings.idle_seconds,
            idle_seconds=self._settings.idle_seconds,
            max_pdu=self._settings.max_pdu,
        )


def _space(site: Site, project: ProjectSettings) -> _Space:
    key = read_key(f"projects.{project.name}.key_file", project.key_file)
    copies = project.replication.copies
    return _Space(
        project.name,
        Pseudonyms(key, project.name),
        {
            zone: copies.get(zone, site.zone(zone).copies)
            for zone in (project.home_zone, *project.partner_zones)
        },
    )


def _event(
    transaction: str,
    safe: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, str, int]],
    syntax: str,
) -> bytes:
    """Encode the event information (PS3.4 table J.3-4)."""
    ds = Dataset()
    ds.TransactionUID = transaction
    if safe:
        ds.ReferencedSOPSequence = [_item(*one) for one in safe]
    if failed:
        ds.FailedSOPSequence = [_item(*one) for one in failed]
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, syntax == IMPLICIT
    write_dataset(target, ds)
    return bytes(target.getvalue())


def _item(sop_class: str, sop: str, reason: int = 0) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop
    if reason:
        item.FailureReason = reason
    return item


def answer_requests(site: Site) -> None:
    """Answer requests until the service that started this process has ended."""
    parent = os.getppid()
    service = CommitmentService(site)
    pause = min(site.receiver.commitment_seconds if site.receiver else 1.0, 5.0)
    while os.getppid() == parent:
        try:
            service.run_once()
        except (PacsgridError, OSError, psycopg2.Error) as error:
            log.warning("storage commitment: %s", type(error).__name__)
        time.sleep(pause)
