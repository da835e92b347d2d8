"""Take results by STOW-RS and C-STORE: check each object while its sender waits, then deposit it.

Only for projects whose ledger and key are at this site, since the checks need both.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from pacsgrid.deid.check.result import ResultUids, header_of
from pacsgrid.dimse import status
from pacsgrid.errors import HeldError, NotTakenError, PacsgridError
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.ledger.codes import WITHDRAWN
from pacsgrid.pacs.storage_scp.incoming import (
    Arrival,
    Incoming,
    InvalidInstanceError,
    recover,
)
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.results import (
    Deposited,
    check_object,
    deposit_result,
    keep_object,
    pending_results,
    references,
)

if TYPE_CHECKING:
    from pacsgrid.gateway.core import Gateway

log = logging.getLogger(__name__)

# Arriving objects, in the outbox: the rename to their place must not cross file systems.
ARRIVING = ".results"
# Series whose headers are read for one object; those of its other series are taken on trust.
_MOST_SERIES = 16
_RESERVE = 1 << 30

_STATUS: Mapping[str, int] = {
    "class-unsupported": status.WRONG_SOP_CLASS,
    "attribute-missing": status.MISSING_ATTRIBUTE,
    "attribute-invalid": status.INVALID_ATTRIBUTE_VALUE,
    "identity-left": status.INVALID_ATTRIBUTE_VALUE,
    "private-left": status.INVALID_ATTRIBUTE_VALUE,
    "pixels-text": status.INVALID_ATTRIBUTE_VALUE,
    "reference-missing": status.NO_SUCH_INSTANCE,
    "reference-mismatch": status.DOES_NOT_MATCH_SOP_CLASS,
    "duplicate": status.DUPLICATE_INSTANCE,
    "withdrawn": status.NOT_AUTHORISED,
}


class RefusedResultError(InvalidInstanceError):
    """An object that is no result to take.

    Parameters
    ----------
    code
        Status or Failure Reason for the sender (PS3.7 annex C, PS3.18 table I.2-2).
    comment
        Why, for the sender; quotes no value.
    """

    def __init__(self, code: int, comment: str) -> None:
        super().__init__(comment)
        self.status = code
        self.comment = comment


class _ResultIncoming(Incoming):
    """A folder whose complete files are checked and kept as results."""

    def __init__(self, desk: ResultDesk, folder: Path, user: str, name: str) -> None:
        super().__init__(folder, _RESERVE)
        self._desk, self._user, self._name = desk, user, name

    def finish(self, arrival: Arrival) -> None:
        """Check and keep a complete file.

        Raises
        ------
        RefusedResultError
            It is not taken.
        """
        study = self.study_of(arrival)
        os.fsync(arrival.handle)
        self._desk.keep(self._user, self._name, study, Path(arrival.path))
        # The caller no longer discards it.
        os.close(arrival.handle)


class ResultDesk:
    """Takes results for the projects of this site, and deposits them in the background.

    Parameters
    ----------
    gateway
        The gateway: it tells what a sender may read, and reads headers of deposited instances.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._contexts: dict[str, ProjectContext] = {}
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._worker: threading.Thread | None = None

    def incoming(self, user: str, name: str) -> Incoming:
        """Return where a sender's objects are written.

        Parameters
        ----------
        user
            The sender, an iRODS user.
        name
            The result's name.
        """
        return _ResultIncoming(self, self._gateway.site.outbox / ARRIVING, user, name)

    def take(
        self,
        user: str,
        name: str,
        sop_class: str,
        sop: str,
        syntax: str,
        pieces: Iterable[bytes | memoryview],
    ) -> None:
        """Take an object of a C-STORE request.

        Parameters
        ----------
        user
            The sender, an iRODS user.
        name
            The result's name.
        sop_class, sop, syntax
            UIDs of SOP class, instance and transfer syntax.
        pieces
            The encoded dataset.

        Raises
        ------
        RefusedResultError, InvalidInstanceError
            It is not taken.
        OSError
            It cannot be written.
        """
        incoming = self.incoming(user, name)
        try:
            if not incoming.has_room():
                raise RefusedResultError(status.OUT_OF_RESOURCES, "the gateway's disk is full")
            arrival = incoming.begin(sop_class, sop, syntax)
            try:
                for piece in pieces:
                    arrival.write(piece)
                incoming.finish(arrival)
            except BaseException:
                arrival.discard()
                raise
        finally:
            incoming.close()

    def keep(self, user: str, name: str, study: str, path: Path) -> None:
        """Check a file and keep it as a result; it is on disk and in the ledger afterwards.

        Parameters
        ----------
        user
            The sender, an iRODS user.
        name
            The result's name.
        study
            The file's StudyInstanceUID.
        path
            The file.

        Raises
        ------
        RefusedResultError
            It is not taken.
        """
        try:
            header, uids = references(path)
            context, deposited = self._deposited(user, study, uids)
            checked = check_object(context, path, header, uids, deposited, user)
            ref = keep_object(context, name, user, checked)
        except HeldError as error:
            raise RefusedResultError(
                _STATUS.get(error.code, status.CANNOT_UNDERSTAND), f"{error.code}: {error.detail}"
            ) from None
        except (PacsgridError, psycopg2.Error) as error:
            log.error("a result cannot be kept: %s", type(error).__name__)
            raise RefusedResultError(
                status.PROCESSING_FAILURE, "the gateway cannot keep it now; try again later"
            ) from None
        log.info("%s: an object of result %s kept", ref, name)
        self._enqueue(context.project.name, ref)

    def _deposited(
        self, user: str, study: str, uids: ResultUids
    ) -> tuple[ProjectContext, Deposited]:
        """Return what a sender may read of the study that an object is of."""
        found = self._gateway.instances(user, study)
        wanted = {sop for _, sop in uids.references}
        images = [one for one in found if _project(one) in self._gateway.site.projects]
        # A study that two projects deposited has two pseudonyms, so one project is meant.
        named = [one for one in images if one.sop in wanted]
        if not named:
            raise NotTakenError(
                "reference-missing",
                "it refers to no instance that you may read of a study that this site keeps",
            )
        project, subject = named[0].place.split("/")[0], named[0].place.split("/")[2]
        context = self._context(project)
        if context.ledger.withdrawals.is_withdrawn(project, subject):
            raise NotTakenError(WITHDRAWN, "the patient withdrew from the project")
        mine = [one for one in images if _project(one) == project]
        one_each = {one.series: one for one in reversed(named) if _project(one) == project}
        headers = [
            header_of(next(self._gateway.objects.stream(one), b""))
            for one in islice(one_each.values(), _MOST_SERIES)
        ]
        return context, Deposited(
            study,
            subject,
            {one.sop: one.sop_class for one in mine},
            frozenset(one.series for one in mine),
            headers,
        )

    def _context(self, project: str) -> ProjectContext:
        with self._lock:
            if project not in self._contexts:
                self._contexts[project] = ProjectContext(
                    self._gateway.site, project, "gateway: results"
                )
            return self._contexts[project]

    # -- depositing ------------------------------------------------------------------------

    def resume(self) -> None:
        """Deposit what an earlier process of this machine kept and did not deposit."""
        folder = self._gateway.site.outbox / ARRIVING
        Incoming(folder, _RESERVE).close()
        recover(folder)  # removes what a killed process left half-written
        for project in self._gateway.site.projects:
            try:
                for ref in pending_results(self._context(project)):
                    self._enqueue(project, ref)
            except (PacsgridError, psycopg2.Error) as error:
                log.warning("results of project %s: %s", project, type(error).__name__)

    def _enqueue(self, project: str, ref: str) -> None:
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="results", daemon=True)
                self._worker.start()
        self._queue.put((project, ref))

    def _work(self) -> None:
        while (next_one := self._queue.get()) is not None:
            project, ref = next_one
            try:
                # A context of its own: clients of zones are not shared between threads.
                with ProjectContext(self._gateway.site, project, "gateway: results") as context:
                    deposit_result(context, ref)
            except Exception as error:  # the nightly maintenance sees to what is left
                log.error("%s: cannot be deposited: %s", ref, type(error).__name__)
            self._queue.task_done()

    def wait(self) -> None:
        """Return when everything that was kept so far was tried to be deposited."""
        self._queue.join()

    def close(self) -> None:
        """End after the result that is being deposited."""
        with self._lock:
            worker, self._worker = self._worker, None
            contexts, self._contexts = list(self._contexts.values()), {}
        if worker is not None:
            self._queue.put(None)
            worker.join()
        for context in contexts:
            context.close()


def _project(one: StoredInstance) -> str:
    return one.place.partition("/")[0]
