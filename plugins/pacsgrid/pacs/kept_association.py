"""The association with a source that one request leaves to the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.pacs.likely_sop_classes import CLASSES_AT_ONCE
from pacsgrid.pacs.query_retrieve import QueryRetrieve

log = logging.getLogger(__name__)


class KeptAssociation:
    """Keeps at most one association between requests; several threads may use it.

    A thread that finds it in use opens another. An association that does not offer what is needed
    is closed first, and the next one proposes what the earlier ones did too, so that soon one is
    enough. A source that ended the association meanwhile gets a new one.

    Parameters
    ----------
    name
        The source's name, for messages.
    settings
        The source and how to associate with it.
    models
        The services that every association proposes.
    """

    def __init__(self, name: str, settings: AssociationSettings, models: Sequence[str]) -> None:
        self._name = name
        self._settings = settings
        self._models = dict.fromkeys(models)
        # The service that brings instances, and their classes, as proposed before.
        self._brought_by: dict[str, None] = {}
        self._classes: dict[str, None] = {}
        self._lock = threading.Lock()
        self._idle: QueryRetrieve | None = None
        self._keeping = 0
        self._alone = False

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep an association until the outermost of these contexts ends."""
        with self._lock:
            self._keeping += 1
        try:
            yield
        finally:
            with self._lock:
                self._keeping -= 1
                last = not self._keeping
            if last:
                self.close()
                self._brought_by, self._classes = {}, {}

    def close(self) -> None:
        """Close the association, if it is not in use."""
        idle = self._take()
        if idle:
            idle.close()

    def one_request_each(self) -> None:
        """Use an association for one request only: this source refuses or ignores a second."""
        if not self._alone:
            log.warning(
                "source %s: takes one request in an association; every request gets its own now",
                self._name,
            )
        self._alone = True

    @contextmanager
    def associated(
        self, model: str, sop_classes: Collection[str] = (), anew: bool = False
    ) -> Iterator[QueryRetrieve]:
        """Hold an association for a request.

        Parameters
        ----------
        model
            The service, see `QueryRetrieve`.
        sop_classes
            What a C-GET may bring.
        anew
            Whether it must not have been used before.

        Raises
        ------
        SourceUnreachableError, SourceUnavailableError, SourceError
            There is no association, now or ever, or what is needed is not accepted.
        """
        held = self._take()
        if held and (anew or not held.is_open() or not held.offers(model, sop_classes)):
            held.close()
            held = None
        if held is None:
            held = self._open(model, sop_classes)
        try:
            yield held
        except BaseException:
            held.close()
            raise
        with self._lock:
            if self._idle is None and self._keeping and not self._alone:
                self._idle, held = held, None
        if held:
            held.close()

    def _take(self) -> QueryRetrieve | None:
        with self._lock:
            idle, self._idle = self._idle, None
        return idle

    def _open(self, model: str, sop_classes: Collection[str]) -> QueryRetrieve:
        models, classes = {model: None}, dict.fromkeys(sop_classes)
        if not self._alone:
            models = self._models | self._brought_by | models
            if len(self._classes | classes) <= CLASSES_AT_ONCE:
                classes = self._classes | classes
        opened = QueryRetrieve(self._name, self._settings, list(models), list(classes))
        if not opened.offers(model, sop_classes):
            opened.close()
            if len(classes) == len(sop_classes) and (len(models) == 1 or opened.offers(model)):
                raise opened.refusal(model)
            # The source may accept each alone.
            opened = QueryRetrieve(self._name, self._settings, [model], list(sop_classes))
            if not opened.offers(model, sop_classes):
                opened.close()
                raise opened.refusal(model)
        elif sop_classes:
            self._classes, self._brought_by = classes, {model: None}
        return opened
