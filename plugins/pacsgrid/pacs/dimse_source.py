"""A PACS as a source over DIMSE: C-ECHO, C-FIND, C-GET and C-MOVE (PS3.4 annex C)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

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
    TooManyAnswersError,
)
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.cget import open_cget
from pacsgrid.pacs.cstore_writer import CStoreWriter
from pacsgrid.pacs.likely_sop_classes import CLASSES_AT_ONCE, likely_classes
from pacsgrid.pacs.move_destination import MoveDestination
from pacsgrid.pacs.query_check import Answer
from pacsgrid.pacs.rate_limiter import RateLimiter
from pacsgrid.pacs.retrieval import (
    AnswerCollector,
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

UIDS_AT_ONCE = 100  # keeps identifiers small for sources with short buffers

SendRequest = Callable[[Dataset], int]
_FIND = StudyRootQueryRetrieveInformationModelFind
_MOVE = StudyRootQueryRetrieveInformationModelMove

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
    """Studies of a PACS; each call opens the associations it needs and closes them.

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
        with _move_ports_lock:
            self._port_lock = _move_ports.setdefault(settings.move_port, threading.Lock())

    def echo(self) -> None:
        """Return if the source answers a C-ECHO (PS3.4 annex A)."""
        with self._associate(Verification) as association:
            self._check(status_code(association.send_c_echo()))

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
        with self._associate(_FIND) as association:
            for single in split_query(query):
                found = self._find(association, _study_identifier(single))
                answers.add(single, map(_answer, found))

            def has_modality(study: FoundStudy) -> bool:
                asked = study.query.modalities if study.query else ()
                listed = self._series(association, study)
                return not {_text(one, "Modality") for one in listed}.isdisjoint(asked)

            return iter(answers.studies(has_modality))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs that the source lists, series by series."""
        return {one.sop_uid for one in self._instances(study)}

    def strays(self) -> list[Path]:
        """Return nothing: a PACS has no instance without a study."""
        return []

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the source says of each series (C-FIND at series level, PS3.4 C.6.2.1)."""
        self._check_study(study)
        with self._associate(_FIND) as association:
            answers = self._series(association, study, described=True)
        return [
            SeriesFacts(
                self._series_uid(one),
                _told(one, "Modality"),
                _told(one, "SeriesDescription"),
                _told(one, "BodyPartExamined"),
                instances=_number(one, "NumberOfSeriesRelatedInstances"),
            )
            for one in answers
        ]

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return a series with what the source says of its instances (C-FIND at image level).

        Parameters
        ----------
        study, series
            The study and one of its series.
        """
        with self._associate(_FIND) as association:
            found = self._images(association, study, series.uid, described=True)
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
        listed = self._instances(study, leave_out)
        if leave_out:
            remove_unlisted(into, listed)

        def fetch(missing: list[ListedInstance]) -> None:
            self._fetch(study, missing, listed, into)

        return fetch_all(self._name, listed, into, fetch)

    def _check(self, code: int | None) -> None:
        if code != status.SUCCESS:
            raise status_error(self._name, code)

    @contextmanager
    def _associate(self, sop_class: str) -> Iterator[Association]:
        """Hold an association for one service; raise an error that names the source."""
        contexts = [build_context(sop_class)]
        try:
            with pynetdicom_requestor.open_association(self._association, contexts) as association:
                if not association.is_established:
                    raise association_error(self._name, association)
                yield association
        except ValueError:
            # pynetdicom raises it for a message without an accepted context.
            raise SourceError(
                f"source {self._name}: accepted no context for the operation"
            ) from None
        except RuntimeError:
            raise SourceUnreachableError(f"source {self._name}: association was lost") from None

    def _find(self, association: Association, identifier: Dataset) -> list[Dataset]:
        answers = []
        for answer, data in association.send_c_find(identifier, _FIND):
            code = status_code(answer)
            if code in (status.PENDING, status.PENDING_UNMATCHED):
                if data is not None:
                    answers.append(data)
            elif code == status.OUT_OF_RESOURCES:  # PS3.4 section C.4.1.1.4
                raise TooManyAnswersError(
                    f"source {self._name}: out of resources for a query; query less at once"
                )
            else:
                self._check(code)
        return answers

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
        with self._associate(_FIND) as association:
            for answer in self._series(association, study):
                series_uid = self._series_uid(answer)
                if series_uid in leave_out:
                    continue
                likely = likely_classes(_text(answer, "Modality"))
                for found in self._images(association, study, series_uid):
                    told = _text(found, "SOPClassUID")
                    uid = _text(found, "SOPInstanceUID")
                    if not is_single_value(uid):
                        raise SourceError(f"source {self._name}: instance without a valid UID")
                    instances[uid] = ListedInstance(series_uid, uid, (told,) if told else likely)
        return list(instances.values())

    def _images(
        self, association: Association, study: FoundStudy, series_uid: str, described: bool = False
    ) -> list[Dataset]:
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
            for one in self._find(association, image)
            if _text(one, "SeriesInstanceUID") in ("", series_uid)
            and is_of_study(_text(one, "StudyInstanceUID"), study)
        ]

    def _series(
        self, association: Association, study: FoundStudy, described: bool = False
    ) -> list[Dataset]:
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
        listed = self._find(association, series)
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
        """Send the requests over one association; failed sub-operations are no errors here.

        The files show whether everything arrived, not the source's counters.
        """
        errors: list[PacsgridError] = []
        moves = self._settings.retrieve == "move"
        opened = self._open_move(writer) if moves else self._open_get(classes, writer)
        try:
            with opened as send:
                for request in requests:
                    if (code := send(request)) not in (status.SUCCESS, status.SOME_FAILED):
                        errors.append(status_error(self._name, code))
        except SourceUnreachableError as lost:
            errors.append(lost)
        return errors

    @contextmanager
    def _open_get(self, classes: list[str], writer: CStoreWriter) -> Iterator[SendRequest]:
        """Yield a function that sends one C-GET and writes its instances."""
        with open_cget(self._name, self._association, classes, writer) as client:
            yield client.get

    @contextmanager
    def _open_move(self, writer: CStoreWriter) -> Iterator[SendRequest]:
        """Yield a function that sends one C-MOVE to this node."""
        destination = self._settings.calling_ae_title
        with self._listen(writer), self._associate(_MOVE) as association:

            def send(request: Dataset) -> int:
                code: int | None = None
                for answer, _ in association.send_c_move(request, destination, _MOVE):
                    code = status_code(answer)
                if code is None:
                    raise status_error(self._name, None)
                return code

            yield send

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
