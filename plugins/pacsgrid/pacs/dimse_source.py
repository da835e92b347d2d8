"""A PACS as a source over DIMSE: C-ECHO, C-FIND, C-GET and C-MOVE (PS3.4 annex C)."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from pacsgrid.config import SourceSettings
from pacsgrid.dimse import pynetdicom_requestor, status
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.tls import client_tls
from pacsgrid.errors import (
    ConfigError,
    PacsgridError,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
)
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.answer_collector import AnswerCollector
from pacsgrid.pacs.cstore_writer import CStoreWriter
from pacsgrid.pacs.kept_association import KeptAssociation
from pacsgrid.pacs.likely_sop_classes import CLASSES_AT_ONCE, likely_classes
from pacsgrid.pacs.move_destination import MoveDestination
from pacsgrid.pacs.query_check import Answer
from pacsgrid.pacs.query_retrieve import FIND, GET, MOVE, QueryRetrieve
from pacsgrid.pacs.rate_limiter import RateLimiter
from pacsgrid.pacs.retrieval import (
    ListedInstance,
    fetch_all,
    is_of_study,
    remove_unlisted,
    series_sizes,
    single_keys,
    split_query,
    uids_by_series,
)
from pacsgrid.pacs.source_errors import association_error, status_code, status_error
from pacsgrid.pacs.staging import WriteGroup
from pacsgrid.uids import is_single_value

suppress_library_logs()

_ARRIVED = (status.SUCCESS, status.SOME_FAILED)
UIDS_AT_ONCE = 100  # keeps identifiers small for sources with short buffers


# One retrieval at a time can listen on a move port.
_move_ports: dict[int, threading.Lock] = {}
_move_ports_lock = threading.Lock()


def _text(data: Dataset, keyword: str) -> str:
    return str(data.get(keyword) or "").strip("\0 ")


def _texts(data: Dataset, keyword: str) -> tuple[str, ...]:
    value = data.get(keyword)
    if value is None or value == "":
        return ()
    if isinstance(value, str | int | float):
        return (str(value),)
    return tuple(str(one) for one in value)


def _number(data: Dataset, keyword: str) -> int | None:
    text = _text(data, keyword)
    return int(text) if text.isdigit() else None


def _told(data: Dataset, keyword: str) -> str | None:
    """Return a text, None if it is empty: PS3.4 C.2.2.1.3 lets a source not know it."""
    return _text(data, keyword) or None


def _distinct(answers: Iterable[Dataset], keyword: str) -> frozenset[str] | None:
    """Return the values that occur; None if any answer lacks one."""
    values = frozenset("\\".join(_texts(one, keyword)).strip("\0 ") for one in answers)
    return None if not values or "" in values else values


def _decimals(texts: frozenset[str] | None) -> frozenset[float] | None:
    try:
        return None if texts is None else frozenset(float(text) for text in texts)
    except ValueError:
        return None


def _study_identifier(query: StudyQuery) -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.QueryRetrieveLevel = "STUDY"
    for keyword, value in single_keys(query).items():
        setattr(data, keyword, value)
    data.NumberOfStudyRelatedInstances = ""
    return data


def _answer(data: Dataset) -> Answer:
    return Answer(
        _text(data, "StudyInstanceUID"),
        _text(data, "PatientID"),
        _text(data, "AccessionNumber"),
        _text(data, "StudyDate"),
        tuple(one.strip("\0 ") for one in _texts(data, "ModalitiesInStudy")),
        _number(data, "NumberOfStudyRelatedInstances"),
    )


def _association_settings(settings: SourceSettings) -> AssociationSettings:
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    return AssociationSettings(
        settings.host,
        settings.port,
        settings.ae_title,
        settings.calling_ae_title,
        client_tls(f"source {settings.name}", *files) if settings.tls else None,
        settings.user,
        settings.password.get_secret_value(),
        settings.connect_seconds,
        settings.idle_seconds,
        settings.answer_seconds,
    )


class DimseSource:
    """Studies of a PACS.

    One association serves all requests of a call, and those of all calls while it is kept open; see
    `KeptAssociation`.

    Raises
    ------
    ConfigError
        The settings do not fit together, or a certificate cannot be used.
    """

    def __init__(self, settings: SourceSettings) -> None:
        if settings.retrieve not in ("get", "move"):
            raise ConfigError(f"source {settings.name}: retrieve must be 'get' or 'move'")
        if settings.retrieve == "move" and not settings.move_port:
            raise ConfigError(f"source {settings.name}: move_port is not set")
        self._settings = settings
        self._name = settings.name
        self._limiter = RateLimiter(settings.instances_per_second)
        self._association = _association_settings(settings)
        models = (FIND, MOVE) if settings.retrieve == "move" else (FIND,)
        self._kept = KeptAssociation(settings.name, self._association, models)
        with _move_ports_lock:
            self._port_lock = _move_ports.setdefault(settings.move_port, threading.Lock())

    def echo(self) -> None:
        """Return if the source answers a C-ECHO (PS3.4 annex A)."""
        contexts = [build_context(Verification)]
        with pynetdicom_requestor.open_association(self._association, contexts) as association:
            if not association.is_established:
                raise association_error(self._name, association)
            code = status_code(association.send_c_echo())
        if code != status.SUCCESS:
            raise status_error(self._name, code)

    @contextmanager
    def keep_open(self) -> Iterator[None]:
        """Keep the association between the calls within this context."""
        with self._kept.keep():
            yield

    def close(self) -> None:
        """Close the association that is kept, if it is not in use; the next call opens another."""
        self._kept.close()

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Return each study that matches, once; all are queried before the first is returned.

        So a slow caller never holds an association open. A study that was not queried for is left
        out.

        Raises
        ------
        ConfigError
            A value of the query would match others too.
        """
        answers = AnswerCollector(self._name, self._settings.most_answers)

        def has_modality(study: FoundStudy) -> bool:
            asked = study.query.modalities if study.query else ()
            return not {_text(one, "Modality") for one in self._series(study)}.isdisjoint(asked)

        with self.keep_open():
            for single in split_query(query):
                answers.add(single, map(_answer, self._find(_study_identifier(single))))
            return answers.studies(has_modality)

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs that the source lists, series by series."""
        return {one.sop_uid for one in self._instances(study)}

    def strays(self) -> list[Path]:
        """Return nothing: a PACS has no instance without a study."""
        return []

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the source says of each series (C-FIND at series level, PS3.4 C.6.2.1)."""
        self._check_study(study)
        return [
            SeriesFacts(
                self._series_uid(one),
                _told(one, "Modality"),
                _told(one, "SeriesDescription"),
                _told(one, "BodyPartExamined"),
                instances=_number(one, "NumberOfSeriesRelatedInstances"),
            )
            for one in self._series(study, described=True)
        ]

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return a series with what the source says of its instances (C-FIND at image level).

        Parameters
        ----------
        study, series
            The study and one of its series.
        """
        found = self._images(study, series.uid, described=True)
        return replace(
            series,
            image_types=_distinct(found, "ImageType"),
            sop_classes=_distinct(found, "SOPClassUID"),
            thicknesses=_decimals(_distinct(found, "SliceThickness")),
            instances=len({_text(one, "SOPInstanceUID") for one in found}),
        )

    def retrieve(
        self, study: FoundStudy, into: Path, leave_out: Collection[str] = ()
    ) -> list[StagedFile]:
        """Retrieve what is missing of a study, compare with the source's list, retry once.

        See `Source.retrieve`.

        Parameters
        ----------
        study, into, leave_out
            As there.
        """
        with self.keep_open():
            listed = self._instances(study, leave_out)
            if leave_out:
                remove_unlisted(into, listed)

            def fetch(missing: list[ListedInstance]) -> None:
                self._fetch(study, missing, listed, into)

            return fetch_all(self._name, listed, into, fetch)

    def _find(self, identifier: Dataset) -> Iterator[Dataset]:
        """Yield the answers to a query as they come.

        An association that was used before may have come to its end; then the query is sent again
        over a new one, if nothing was answered.
        """
        answered = used = False
        try:
            with self._kept.associated(FIND) as association:
                used = association.requests > 0
                for data in association.find(identifier):
                    answered = True
                    yield data
                return
        except (SourceError, SourceUnavailableError):
            if answered or not used:
                raise
        with self._kept.associated(FIND, anew=True) as association:
            yield from association.find(identifier)
        self._kept.one_request_each()

    def _check_study(self, study: FoundStudy) -> None:
        if not is_single_value(study.study_uid):
            raise SourceError(f"source {self._name}: a study without a valid UID; correct it there")

    def _series_uid(self, answer: Dataset) -> str:
        uid = _text(answer, "SeriesInstanceUID")
        if not is_single_value(uid):
            raise SourceError(f"source {self._name}: series without a valid UID")
        return uid

    def _instances(
        self, study: FoundStudy, leave_out: Collection[str] = ()
    ) -> list[ListedInstance]:
        """List the study at series and image level (PS3.4 section C.6.2.1)."""
        self._check_study(study)
        instances: dict[str, ListedInstance] = {}
        for answer in self._series(study):
            series_uid = self._series_uid(answer)
            if series_uid in leave_out:
                continue
            likely = likely_classes(_text(answer, "Modality"))
            for found in self._images(study, series_uid):
                told = _text(found, "SOPClassUID")
                uid = _text(found, "SOPInstanceUID")
                if not is_single_value(uid):
                    raise SourceError(f"source {self._name}: instance without a valid UID")
                instances[uid] = ListedInstance(series_uid, uid, (told,) if told else likely)
        return list(instances.values())

    def _images(self, study: FoundStudy, series_uid: str, described: bool = False) -> list[Dataset]:
        """List a series; answers of other studies or series than the queried one are ignored."""
        image = Dataset()
        image.QueryRetrieveLevel = "IMAGE"
        image.StudyInstanceUID = study.study_uid
        image.SeriesInstanceUID = series_uid
        image.SOPInstanceUID = ""
        image.SOPClassUID = ""
        if described:
            image.ImageType = None
            image.SliceThickness = None
        return [
            one
            for one in self._find(image)
            if _text(one, "SeriesInstanceUID") in ("", series_uid)
            and is_of_study(_text(one, "StudyInstanceUID"), study)
        ]

    def _series(self, study: FoundStudy, described: bool = False) -> list[Dataset]:
        """List the study's series; answers of other studies are ignored."""
        series = Dataset()
        series.QueryRetrieveLevel = "SERIES"
        series.StudyInstanceUID = study.study_uid
        series.SeriesInstanceUID = ""
        series.Modality = ""
        if described:
            series.SeriesDescription = ""
            series.BodyPartExamined = ""
            series.NumberOfSeriesRelatedInstances = ""
        listed = self._find(series)
        return [one for one in listed if is_of_study(_text(one, "StudyInstanceUID"), study)]

    def _fetch(
        self,
        study: FoundStudy,
        missing: list[ListedInstance],
        listed: list[ListedInstance],
        into: Path,
    ) -> None:
        """Retrieve series by series; an error of one does not keep the others from coming."""
        wanted = {one.sop_uid for one in missing}
        sizes = series_sizes(listed)
        errors: list[PacsgridError] = []
        with WriteGroup() as group:
            writer = CStoreWriter(into, wanted, group, self._limiter)
            for classes, part in _split_by_classes(missing):
                requests = list(_identifiers(study.study_uid, part, sizes))
                try:
                    errors += self._run(classes, requests, writer)
                except SourceUnavailableError as problem:
                    errors.append(problem)
        if errors:
            raise next((e for e in errors if not e.retryable), errors[0])

    def _run(
        self, classes: list[str], requests: list[Dataset], writer: CStoreWriter
    ) -> list[PacsgridError]:
        """Send the requests, one after another; failed sub-operations are no errors here.

        The files show whether everything arrived, not the source's counters.
        """
        errors: list[PacsgridError] = []
        moves = self._settings.retrieve == "move"
        with self._listen(writer) if moves else nullcontext():
            for request in requests:
                try:
                    code = self._send(classes, request, writer)
                except SourceUnreachableError as lost:
                    errors.append(lost)
                    break
                if code not in _ARRIVED:
                    errors.append(status_error(self._name, code))
        return errors

    def _send(self, classes: list[str], request: Dataset, writer: CStoreWriter) -> int:
        """Send a C-GET or C-MOVE and return its status; again if the association was used up."""
        model, brought = (MOVE, []) if self._settings.retrieve == "move" else (GET, classes)

        def send(association: QueryRetrieve) -> int:
            if model == MOVE:
                return association.move(request, self._settings.calling_ae_title)
            return association.get(request, writer)

        used = False
        try:
            with self._kept.associated(model, brought) as association:
                used = association.requests > 0
                code = send(association)
            if code in _ARRIVED or not used:
                return code
        except SourceUnreachableError:
            if not used:
                raise
        with self._kept.associated(model, brought, anew=True) as association:
            code = send(association)
        if code in _ARRIVED:
            self._kept.one_request_each()
        return code

    @contextmanager
    def _listen(self, writer: CStoreWriter) -> Iterator[None]:
        """Listen as the move destination while C-MOVEs are sent."""
        s = self._settings
        with self._port_lock:
            try:
                destination = MoveDestination(
                    s.calling_ae_title, s.move_bind, s.move_port, writer, s.idle_seconds
                )
            except OSError:
                raise SourceUnavailableError(
                    f"source {self._name}: move_port is in use, or move_bind is no address here"
                ) from None
            with destination:
                yield


def _split_by_classes(
    missing: list[ListedInstance],
) -> Iterator[tuple[list[str], list[ListedInstance]]]:
    """Split so that each part's SOP classes fit into one association."""
    classes: dict[str, None] = {}
    part: list[ListedInstance] = []
    for one in sorted(missing, key=lambda item: (item.classes, item.series_uid)):
        joined = {**classes, **dict.fromkeys(one.classes)}
        if part and len(joined) > CLASSES_AT_ONCE:
            yield list(classes), part
            joined, part = dict.fromkeys(one.classes), []
        classes = joined
        part.append(one)
    if part:
        yield list(classes), part


def _identifiers(
    study_uid: str, part: list[ListedInstance], sizes: dict[str, int]
) -> Iterator[Dataset]:
    """Request a whole series if all of it is missing, else instances (PS3.4 C.4.3.1.3)."""
    for series_uid, uids in uids_by_series(part).items():
        whole = len(uids) == sizes[series_uid]
        for start in range(0, 1 if whole else len(uids), UIDS_AT_ONCE):
            data = Dataset()
            data.QueryRetrieveLevel = "SERIES" if whole else "IMAGE"
            data.StudyInstanceUID = study_uid
            data.SeriesInstanceUID = series_uid
            if not whole:
                data.SOPInstanceUID = uids[start : start + UIDS_AT_ONCE]
            yield data
