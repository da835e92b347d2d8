"""A PACS as a source over DIMSE: C-ECHO, C-FIND, C-GET and C-MOVE (PS3.4 annex C)."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from pacsgrid.config import SourceSettings
from pacsgrid.errors import (
    ConfigError,
    PacsgridError,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
    TooManyAnswersError,
)
from pacsgrid.log_suppression import suppress_library_logs
from pacsgrid.model import FoundStudy, StagedFile, StudyQuery
from pacsgrid.pacs import status as st
from pacsgrid.pacs.asked import Answer, is_single_uid
from pacsgrid.pacs.cget import getting
from pacsgrid.pacs.contexts import CLASSES_AT_ONCE, likely_classes
from pacsgrid.pacs.guard import Pace
from pacsgrid.pacs.move_destination import MoveDestination
from pacsgrid.pacs.protocol.requesting import Peer
from pacsgrid.pacs.protocol.wire import user_identity
from pacsgrid.pacs.reactor import settle
from pacsgrid.pacs.receive import Receiver
from pacsgrid.pacs.retrieval import Answers, Instance, bring, first, of_study, single_values
from pacsgrid.pacs.staging import WriteGroup
from pacsgrid.pacs.tls import client_context

suppress_library_logs()

UIDS_AT_ONCE = 100  # keeps the C-GET identifier small for sources with short buffers

Ask = Callable[[Dataset], int]
_FIND = StudyRootQueryRetrieveInformationModelFind
_MOVE = StudyRootQueryRetrieveInformationModelMove

_move_ports: dict[int, threading.Lock] = {}
_registry = threading.Lock()


def _text(data: Dataset, keyword: str) -> str:
    return str(data.get(keyword) or "").strip("\0 ")


def _many(data: Dataset, keyword: str) -> tuple[str, ...]:
    value = data.get(keyword)
    if not value:
        return ()
    return (str(value),) if isinstance(value, str) else tuple(str(one) for one in value)


def _number(data: Dataset, keyword: str) -> int | None:
    text = _text(data, keyword)
    return int(text) if text.isdigit() else None


def _identifier(question: StudyQuery) -> Dataset:
    dates = (question.date_from, question.date_to)
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.QueryRetrieveLevel = "STUDY"
    data.StudyDate = "-".join(dates) if any(dates) else ""
    data.ModalitiesInStudy = first(question.modalities)
    data.PatientID = first(question.patient_ids)
    data.AccessionNumber = first(question.accession_numbers)
    data.StudyInstanceUID = first(question.study_uids)
    data.NumberOfStudyRelatedInstances = ""
    return data


def _answer(data: Dataset) -> Answer:
    return Answer(
        _text(data, "StudyInstanceUID"),
        _text(data, "PatientID"),
        _text(data, "AccessionNumber"),
        _text(data, "StudyDate"),
        tuple(one.strip("\0 ") for one in _many(data, "ModalitiesInStudy")),
        _number(data, "NumberOfStudyRelatedInstances"),
    )


def _identity(user: str, password: str) -> UserIdentityNegotiation:
    """Give the user identity item for a user name and passcode (PS3.7 D.3.3.7)."""
    item = UserIdentityNegotiation()
    item.user_identity_type = 2 if password else 1
    item.primary_field = user.encode()
    if password:
        item.secondary_field = password.encode()
    # Asked for, an answer may be missed by peers that take the identity but know no answer.
    item.positive_response_requested = False
    return item


class DimseSource:
    """Studies of a PACS; each call opens the associations it needs and closes them."""

    def __init__(self, settings: SourceSettings) -> None:
        if settings.retrieve not in ("get", "move"):
            raise ConfigError(f"source {settings.name}: retrieve must be 'get' or 'move'")
        if settings.retrieve == "move" and not settings.move_port:
            raise ConfigError(f"source {settings.name}: move_port is not set")
        self._settings = settings
        self._name = settings.name
        self._pace = Pace(settings.instances_per_second)
        self._tls = self._tls_context()
        with _registry:
            self._port_lock = _move_ports.setdefault(settings.move_port, threading.Lock())

    def echo(self) -> None:
        """Return if the source answers a C-ECHO (PS3.4 annex A)."""
        with self._associate([build_context(Verification)]) as assoc:
            self._check(st.code_of(assoc.send_c_echo()))

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Give each matching study once, asked for before the first is given.

        The answers are collected first, so a slow reader never holds an association open. One
        that was not asked for is not given. Raises ConfigError where a value would match others.
        """
        answers = Answers(self._name, self._settings.most_answers)
        with self._find_association() as assoc:
            for question in single_values(query):
                found = self._find(assoc, _identifier(question))
                answers.enter(question, map(_answer, found))

            def has_modality(study: FoundStudy) -> bool:
                asked = study.asked.modalities if study.asked else ()
                listed = self._series(assoc, study)
                return not {_text(one, "Modality") for one in listed}.isdisjoint(asked)

            return iter(answers.studies(has_modality))

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Give the SOP Instance UIDs the source lists at image level, series by series."""
        return {one.sop_uid for one in self._instances(study)}

    def strays(self) -> list[Path]:
        """Give nothing: a PACS has no instance without a study."""
        return []

    def retrieve(self, study: FoundStudy, into: Path) -> list[StagedFile]:
        """Bring what is missing of the study, compare with the source's list, retry once."""
        listed = self._instances(study)

        def fetch(rest: list[Instance]) -> None:
            self._fetch(study, rest, listed, into)

        return bring(self._name, listed, into, fetch)

    def _check(self, code: int | None) -> None:
        if code != st.SUCCESS:
            raise st.failure(self._name, code)

    @contextmanager
    def _associate(self, contexts: list[PresentationContext]) -> Iterator[Association]:
        """Open an association within the source's limit; release or abort it for sure."""
        entity = AE(ae_title=self._settings.calling_ae_title)
        entity.connection_timeout = self._settings.connect_seconds
        entity.acse_timeout = self._settings.connect_seconds
        entity.dimse_timeout = self._settings.answer_seconds
        entity.network_timeout = self._settings.idle_seconds
        identity = []
        if self._settings.user:
            identity.append(
                _identity(self._settings.user, self._settings.password.get_secret_value())
            )
        assoc = entity.associate(
            self._settings.host,
            self._settings.port,
            contexts=contexts,
            ae_title=self._settings.ae_title,
            ext_neg=identity or None,
            tls_args=(self._tls, self._settings.host) if self._tls else None,
        )
        try:
            settle(assoc)
            if not assoc.is_established:
                raise st.not_established(self._name, assoc)
            yield assoc
        except ValueError:
            # pynetdicom says so for a message without an accepted context.
            raise SourceError(
                f"source {self._name}: accepted no context for the operation"
            ) from None
        except RuntimeError:
            raise SourceUnreachableError(f"source {self._name}: association was lost") from None
        finally:
            if assoc.is_established:
                assoc.release()

    def _tls_context(self) -> ssl.SSLContext | None:
        """Give the TLS context; None where the source speaks plainly."""
        settings = self._settings
        if not settings.tls:
            return None
        try:
            return client_context(settings.ca_file, settings.cert_file, settings.key_file)
        except OSError as error:
            raise ConfigError(
                f"source {self._name}: ca_file, cert_file or key_file cannot be used: {error}"
            ) from None

    @contextmanager
    def _find_association(self) -> Iterator[Association]:
        with self._associate([build_context(_FIND)]) as assoc:
            yield assoc

    def _find(self, assoc: Association, identifier: Dataset) -> list[Dataset]:
        answers = []
        for status, data in assoc.send_c_find(identifier, _FIND):
            code = st.code_of(status)
            if code in st.PENDING:
                if data is not None:
                    answers.append(data)
            elif code == st.TOO_MUCH:
                raise TooManyAnswersError(
                    f"source {self._name}: out of resources for a query; ask for less at once"
                )
            else:
                self._check(code)
        return answers

    def _instances(self, study: FoundStudy) -> list[Instance]:
        """List the study at series and image level (PS3.4 C.6.2.1).

        Answers of other studies or series than the one that is asked for are passed over.
        """
        if not is_single_uid(study.study_uid):
            raise SourceError(f"source {self._name}: the study's UID is none; correct it there")
        instances: dict[str, Instance] = {}
        with self._find_association() as assoc:
            for answer in self._series(assoc, study):
                series_uid = _text(answer, "SeriesInstanceUID")
                if not is_single_uid(series_uid):
                    raise SourceError(f"source {self._name}: series without a valid UID")
                image = Dataset()
                image.QueryRetrieveLevel = "IMAGE"
                image.StudyInstanceUID = study.study_uid
                image.SeriesInstanceUID = series_uid
                image.SOPInstanceUID = ""
                image.SOPClassUID = ""
                likely = likely_classes(_text(answer, "Modality"))
                for found in self._find(assoc, image):
                    of_series = _text(found, "SeriesInstanceUID") in ("", series_uid)
                    if not of_series or not of_study(_text(found, "StudyInstanceUID"), study):
                        continue
                    told = _text(found, "SOPClassUID")
                    uid = _text(found, "SOPInstanceUID")
                    if not is_single_uid(uid):
                        raise SourceError(f"source {self._name}: instance without a valid UID")
                    instances[uid] = Instance(series_uid, uid, (told,) if told else likely)
        return list(instances.values())

    def _series(self, assoc: Association, study: FoundStudy) -> list[Dataset]:
        """List the study's series; what the source tells of other studies is passed over."""
        series = Dataset()
        series.QueryRetrieveLevel = "SERIES"
        series.StudyInstanceUID = study.study_uid
        series.SeriesInstanceUID = ""
        series.Modality = ""
        listed = self._find(assoc, series)
        return [one for one in listed if of_study(_text(one, "StudyInstanceUID"), study)]

    def _fetch(
        self, study: FoundStudy, missing: list[Instance], listed: list[Instance], into: Path
    ) -> None:
        """Retrieve per series; an error of one series doesn't keep the others from coming."""
        wanted = {one.sop_uid for one in missing}
        sizes: dict[str, int] = {}
        for one in listed:
            sizes[one.series_uid] = sizes.get(one.series_uid, 0) + 1
        errors: list[PacsgridError] = []
        with WriteGroup() as writing:
            receiver = Receiver(into, wanted, writing, self._pace)
            for classes, group in _groups(missing):
                requests = list(_requests(study.study_uid, group, sizes))
                try:
                    errors += self._run(classes, requests, receiver)
                except SourceUnavailableError as problem:
                    errors.append(problem)
        if errors:
            raise next((e for e in errors if not e.retryable), errors[0])

    def _run(
        self, classes: list[str], requests: list[Dataset], receiver: Receiver
    ) -> list[PacsgridError]:
        """Send the requests over one association; sub-operations that failed are no error here.

        Whether everything came is decided by the files, not by the source's counters.
        """
        errors: list[PacsgridError] = []
        moves = self._settings.retrieve == "move"
        way = self._moving(receiver) if moves else self._getting(classes, receiver)
        try:
            with way as ask:
                for request in requests:
                    if (code := ask(request)) not in (st.SUCCESS, st.SOME_FAILED):
                        errors.append(st.failure(self._name, code))
        except SourceUnreachableError as lost:
            errors.append(lost)
        return errors

    @contextmanager
    def _getting(self, classes: list[str], receiver: Receiver) -> Iterator[Ask]:
        """Give what sends one C-GET and takes its instances."""
        s = self._settings
        peer = Peer(
            s.host,
            s.port,
            s.ae_title,
            s.calling_ae_title,
            self._tls,
            s.connect_seconds,
            s.idle_seconds,
        )
        identity = user_identity(s.user, s.password.get_secret_value()) if s.user else b""
        with getting(self._name, peer, classes, receiver, s.answer_seconds, identity) as getter:
            yield getter.ask

    @contextmanager
    def _moving(self, receiver: Receiver) -> Iterator[Ask]:
        """Give what sends one C-MOVE whose instances come here."""
        with (
            self._storage(receiver),
            self._associate([build_context(_MOVE)]) as assoc,
        ):

            def ask(request: Dataset) -> int:
                code: int | None = None
                for status, _ in assoc.send_c_move(request, self._settings.calling_ae_title, _MOVE):
                    code = st.code_of(status)
                if code is None:
                    raise st.failure(self._name, None)
                return code

            yield ask

    @contextmanager
    def _storage(self, receiver: Receiver) -> Iterator[None]:
        """Listen as the move destination while the association asks."""
        s = self._settings
        with self._port_lock:
            try:
                listening = MoveDestination(
                    s.calling_ae_title, s.move_bind, s.move_port, receiver, s.idle_seconds
                )
            except OSError:
                raise SourceUnavailableError(
                    f"source {self._name}: move_port is in use, or move_bind is no address here"
                ) from None
            with listening:
                yield


def _groups(missing: list[Instance]) -> Iterator[tuple[list[str], list[Instance]]]:
    """Split so that each group's SOP classes fit into one association."""
    classes: dict[str, None] = {}
    group: list[Instance] = []
    for one in sorted(missing, key=lambda item: (item.classes, item.series_uid)):
        joined = {**classes, **dict.fromkeys(one.classes)}
        if group and len(joined) > CLASSES_AT_ONCE:
            yield list(classes), group
            joined, group = dict.fromkeys(one.classes), []
        classes = joined
        group.append(one)
    if group:
        yield list(classes), group


def _requests(study_uid: str, group: list[Instance], sizes: dict[str, int]) -> Iterator[Dataset]:
    """Ask for whole series where all is missing, else for the instances (PS3.4 C.4.3.1.3)."""
    by_series: dict[str, list[str]] = {}
    for one in group:
        by_series.setdefault(one.series_uid, []).append(one.sop_uid)
    for series_uid, uids in by_series.items():
        whole = len(uids) == sizes[series_uid]
        for start in range(0, 1 if whole else len(uids), UIDS_AT_ONCE):
            data = Dataset()
            data.QueryRetrieveLevel = "SERIES" if whole else "IMAGE"
            data.StudyInstanceUID = study_uid
            data.SeriesInstanceUID = series_uid
            if not whole:
                data.SOPInstanceUID = uids[start : start + UIDS_AT_ONCE]
            yield data
