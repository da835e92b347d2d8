"""Record what leaves through the gateway, before it leaves."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable

import psycopg2

from pacsgrid.config import Site
from pacsgrid.errors import PacsgridError, RetryableError
from pacsgrid.gateway.object_reader import StoredInstance
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.disclosures import Disclosure
from pacsgrid.pipeline.audit_sender import send_audit

log = logging.getLogger(__name__)

_SEND_SECONDS = 5.0
_MOST_REMEMBERED = 10_000
_Key = tuple[str, str, str, str, str]


class DisclosureLog:
    """The ledger's record of retrieved studies, where the site file has a section `audit`.

    Parameters
    ----------
    site
        The site settings.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._lately: dict[_Key, float] = {}
        self._stop = threading.Event()
        self._sender: threading.Thread | None = None

    def note(
        self,
        who: str,
        way: str,
        address: str,
        instances: Iterable[StoredInstance],
        detail: str = "",
    ) -> None:
        """Record that instances are about to leave; send nothing if this fails.

        Parameters
        ----------
        who
            Who gets them.
        way
            How, see `Disclosure.way`.
        address
            Network address of the receiver.
        instances
            What is about to leave.
        detail
            What else is known.

        Raises
        ------
        RetryableError
            The ledger does not take the record.
        """
        settings = self._site.audit
        if settings is None:
            return
        studies: dict[_Key, list[StoredInstance]] = {}
        for one in instances:
            studies.setdefault((who, way, address, detail, one.place.rsplit("/", 1)[0]), []).append(
                one
            )
        now = time.monotonic()
        # One record for each study of a project, whichever result's collection it is from.
        records: dict[tuple[str, ...], Disclosure] = {}
        keys: list[_Key] = []
        window = settings.window_seconds if way in ("DICOMweb", "page") else 0.0
        for key, inside in studies.items():
            with self._lock:
                if self._lately.get(key, -window) + window > now:
                    continue
            keys.append(key)
            project, _, subject, study, *_ = inside[0].place.split("/")
            counts = Counter(one.sop_class for one in inside if one.sop_class)
            if before := records.get((project, subject, study)):
                counts.update(before.classes)
            records[project, subject, study] = Disclosure(
                project, subject, study, counts, who, way, address, detail
            )
        if not records:
            return
        try:
            ledger = Ledger(self._site.ledger_dsn, "gateway")
            ledger.disclosures.add(list(records.values()), bool(settings.host))
        except (PacsgridError, psycopg2.Error):
            raise RetryableError(
                "the ledger cannot record who gets this, so nothing is sent; try again later"
            ) from None
        with self._lock:
            if len(self._lately) > _MOST_REMEMBERED:
                self._lately.clear()
            self._lately |= dict.fromkeys(keys, now)

    def start_sending(self) -> None:
        """Send audit messages to the repository in the background, until closed."""
        if self._site.audit is not None and self._site.audit.host and self._sender is None:
            self._sender = threading.Thread(target=self._send, name="audit", daemon=True)
            self._sender.start()

    def _send(self) -> None:
        while not self._stop.wait(_SEND_SECONDS):
            try:
                send_audit(self._site)
            except (PacsgridError, psycopg2.Error) as error:
                log.warning("audit messages wait in the ledger: %s", error)

    def close(self) -> None:
        """Stop sending; what was not sent is sent later."""
        self._stop.set()
        if self._sender is not None:
            self._sender.join(timeout=5)
