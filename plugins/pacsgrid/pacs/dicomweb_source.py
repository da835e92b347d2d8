"""A PACS as a source over DICOMweb: QIDO-RS and WADO-RS (PS3.18 sections 10.4 and 10.6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError as TransportError
from urllib3.util import Retry

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
from pacsgrid.model import FoundStudy, SeriesFacts, StagedFile, StudyQuery
from pacsgrid.pacs.answer_collector import AnswerCollector
from pacsgrid.pacs.base import ConnectionlessSource
from pacsgrid.pacs.multipart import (
    MultipartError,
    MultipartReader,
    MultipartTruncatedError,
    boundary_of,
)
from pacsgrid.pacs.part10 import HEAD, MOST_META, Meta, read_meta
from pacsgrid.pacs.query_check import Answer
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
from pacsgrid.pacs.staging import WriteGroup, name_for, prepare
from pacsgrid.uids import is_single_value

suppress_library_logs()

TRIES = 5
LONGEST_WAIT = 120  # seconds that a Retry-After header may demand
PIECE = 1 << 18  # larger pieces leave the processor's cache before they are written

_JSON = "application/dicom+json"
# Ask for instances as they are stored (PS3.18 section 8.7.3.5.2); older servers reject `*`.
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PLAIN = 'multipart/related; type="application/dicom"'

_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"
_PATIENT_ID, _MODALITIES, _COUNT = "00100020", "00080061", "00201208"
_SERIES_COUNT = "00201209"
_ACCESSION, _DATE, _MODALITY = "00080050", "00080020", "00080060"
_DESCRIPTION, _BODY_PART, _SOP_CLASS = "0008103E", "00180015", "00080016"
_IMAGE_TYPE, _THICKNESS = "00080008", "00180050"


class _Bearer(requests.auth.AuthBase):
    """Send a bearer token (RFC 6750 section 2.1)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _values(item: dict[str, Any], tag: str) -> tuple[str, ...]:
    """Return an attribute's values as text (PS3.18 section F.2.2)."""
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    if not isinstance(values, list):
        return ()
    return tuple(str(value).strip("\0 ") for value in values if value not in (None, ""))


def _first(item: dict[str, Any], tag: str) -> str:
    return next(iter(_values(item, tag)), "")


def _answer(item: dict[str, Any]) -> Answer:
    count = _first(item, _COUNT)
    return Answer(
        _first(item, _STUDY_UID),
        _first(item, _PATIENT_ID),
        _first(item, _ACCESSION),
        _first(item, _DATE),
        _values(item, _MODALITIES),
        int(count) if count.isdigit() else None,
    )


def _distinct(items: Iterable[dict[str, Any]], tag: str) -> frozenset[str] | None:
    """Return the values that occur; None if any answer lacks one."""
    values = frozenset("\\".join(_values(item, tag)) for item in items)
    return None if not values or "" in values else values


def _decimals(texts: frozenset[str] | None) -> frozenset[float] | None:
    try:
        return None if texts is None else frozenset(float(text) for text in texts)
    except ValueError:
        return None


def _page(limit: int, offset: int) -> list[tuple[str, str]]:
    return [("limit", str(limit)), ("offset", str(offset))]


class DicomWebSource(ConnectionlessSource):
    """Studies of a PACS that speaks DICOMweb; connections are kept open and reused.

    Raises
    ------
    ConfigError
        The settings do not fit together, or name a file that is not there.
    """

    def __init__(self, settings: SourceSettings) -> None:
        if not settings.url.startswith(("http://", "https://")):
            raise ConfigError(f"source {settings.name}: url must start with http:// or https://")
        for file in (settings.ca_file, settings.cert_file, settings.key_file):
            if file and not file.is_file():
                raise ConfigError(f"source {settings.name}: there is no file {file}")
        self._name = settings.name
        self._url = settings.url.rstrip("/")
        self._page = settings.page_size
        self._most = settings.most_answers
        self._timeout = (settings.connect_seconds, settings.idle_seconds)
        self._limiter = RateLimiter(settings.instances_per_second)
        self._session = requests.Session()
        # The environment's proxies and netrc are not meant for a PACS in the hospital network.
        self._session.trust_env = False
        if settings.token:
            self._session.auth = _Bearer(settings.token.get_secret_value())
        elif settings.user:
            self._session.auth = (settings.user, settings.password.get_secret_value())
        if settings.ca_file:
            self._session.verify = str(settings.ca_file)
        if settings.cert_file:
            self._session.cert = (str(settings.cert_file), str(settings.key_file))
        retry = Retry(
            total=TRIES,
            connect=1,  # leave a host that is down to the next way, or the next run
            status_forcelist=(429, 502, 503, 504),
            backoff_factor=0.2,
            backoff_jitter=0.2,
            raise_on_status=False,
            respect_retry_after_header=True,
            retry_after_max=LONGEST_WAIT,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def echo(self) -> None:
        """Return if the source answers a query for one study."""
        self._get_json("/studies", [("limit", "1")])

    def find_studies(self, query: StudyQuery) -> Iterator[FoundStudy]:
        """Return each study that matches, once (QIDO-RS, PS3.18 section 10.6.1.1).

        A study that was not queried for is left out.

        Raises
        ------
        ConfigError
            A value of the query would match others too.
        """
        answers = AnswerCollector(self._name, self._most)
        for single in split_query(query):
            params = [(key, value) for key, value in single_keys(single).items() if value]
            params += [("includefield", tag) for tag in (_COUNT, _MODALITIES)]
            found = self._query("/studies", params, (_STUDY_UID, _PATIENT_ID))
            answers.add(single, map(_answer, found))
        return answers.studies(self._has_modality)

    def list_instances(self, study: FoundStudy) -> set[str]:
        """Return the SOP Instance UIDs that the source lists of a study."""
        return {one.sop_uid for one in self._instances(study, self._series(study))}

    def strays(self) -> list[Path]:
        """Return nothing: a PACS has no instance without a study."""
        return []

    def list_series(self, study: FoundStudy) -> list[SeriesFacts]:
        """Return what the source says of each series (QIDO-RS, PS3.18 section 10.6.1.1)."""
        facts = []
        for item in self._listed_series(study, _DESCRIPTION, _BODY_PART):
            count = _first(item, _SERIES_COUNT)
            facts.append(
                SeriesFacts(
                    self._series_uid(item),
                    _first(item, _MODALITY) or None,
                    _first(item, _DESCRIPTION) or None,
                    _first(item, _BODY_PART) or None,
                    instances=int(count) if count.isdigit() else None,
                )
            )
        return facts

    def describe_series(self, study: FoundStudy, series: SeriesFacts) -> SeriesFacts:
        """Return a series with what the source says of its instances.

        Parameters
        ----------
        study, series
            The study and one of its series.
        """
        fields = (_SOP_CLASS, _IMAGE_TYPE, _THICKNESS)
        found = list(self._listed_instances(study, series.uid, fields))
        return replace(
            series,
            image_types=_distinct(found, _IMAGE_TYPE),
            sop_classes=_distinct(found, _SOP_CLASS),
            thicknesses=_decimals(_distinct(found, _THICKNESS)),
            instances=len(found),
        )

    def retrieve(
        self, study: FoundStudy, into: Path, leave_out: Collection[str] = ()
    ) -> list[StagedFile]:
        """Retrieve what is missing of a study, compare with what the source has, retry once.

        Sources take about as long to list instances as to send them. A series that arrives in
        one complete answer, with as many different instances as the source counts, needs no list.
        See `Source.retrieve`.

        Parameters
        ----------
        study, into, leave_out
            As there.
        """
        series = {uid: count for uid, count in self._series(study).items() if uid not in leave_out}
        arrived: list[ListedInstance] = []
        prepare(into)
        if not any(into.iterdir()):
            for uid, count in series.items():
                if count:
                    arrived += self._fetch_series(study.study_uid, uid, count, into)
        known = {one.series_uid for one in arrived}
        rest = [uid for uid in series if uid not in known]
        listed = [*arrived, *self._instances(study, rest)]
        remove_unlisted(into, listed)

        def fetch(missing: list[ListedInstance]) -> None:
            self._fetch(study.study_uid, missing, listed, into)

        return fetch_all(self._name, listed, into, fetch)

    # -- queries --------------------------------------------------------------------------

    def _series(self, study: FoundStudy) -> dict[str, int | None]:
        """Return the number of instances of each series, None where the source does not say."""
        series: dict[str, int | None] = {}
        for item in self._listed_series(study):
            count = _first(item, _SERIES_COUNT)
            series[self._series_uid(item)] = int(count) if count.isdigit() else None
        return series

    def _series_uid(self, item: dict[str, Any]) -> str:
        uid = _first(item, _SERIES_UID)
        if not is_single_value(uid):
            raise SourceError(f"source {self._name}: series without a valid UID")
        return uid

    def _listed_series(self, study: FoundStudy, *fields: str) -> list[dict[str, Any]]:
        """List the study's series; answers of other studies are ignored."""
        if not is_single_value(study.study_uid):
            raise SourceError(f"source {self._name}: a study without a valid UID; correct it there")
        path = f"/studies/{quote(study.study_uid, safe='')}/series"
        params = [("includefield", tag) for tag in (_SERIES_COUNT, *fields)]
        listed = self._query(path, params, (_SERIES_UID,))
        return [item for item in listed if is_of_study(_first(item, _STUDY_UID), study)]

    def _has_modality(self, study: FoundStudy) -> bool:
        asked = study.query.modalities if study.query else ()
        listed = self._listed_series(study)
        return not {_first(item, _MODALITY) for item in listed}.isdisjoint(asked)

    def _instances(self, study: FoundStudy, series: Iterable[str]) -> list[ListedInstance]:
        """List series by series: not every server lists a study's instances at once."""
        instances: dict[str, ListedInstance] = {}
        for series_uid in series:
            for item in self._listed_instances(study, series_uid):
                uid = _first(item, _SOP_UID)
                if not is_single_value(uid):
                    raise SourceError(f"source {self._name}: instance without a valid UID")
                instances[uid] = ListedInstance(series_uid, uid)
        return list(instances.values())

    def _listed_instances(
        self, study: FoundStudy, series_uid: str, fields: Iterable[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """List a series; answers of other studies or series are ignored."""
        path = f"{_series_path(study.study_uid, series_uid)}/instances"
        for item in self._query(path, [("includefield", tag) for tag in fields], (_SOP_UID,)):
            of_series = _first(item, _SERIES_UID) in ("", series_uid)
            if of_series and is_of_study(_first(item, _STUDY_UID), study):
                yield item

    def _query(
        self, path: str, params: list[tuple[str, str]], key: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        """Yield every answer once, page by page (PS3.18 section 8.3.4.4).

        A short page need not be the last, since servers have limits of their own: the last is the
        one that brings nothing new. Some servers answer wrongly or not at all from an offset, so
        if the list ended with full pages it is queried once more from its start.

        Parameters
        ----------
        path, params
            The resource and the query's parameters.
        key
            Tags whose values tell answers apart.

        Raises
        ------
        TooManyAnswersError
            The server has more answers, but ignores ``offset``.
        """
        seen: set[tuple[str, ...]] = set()

        def new(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
            for item in items:
                mark = tuple(_first(item, tag) for tag in key)
                if mark not in seen:
                    seen.add(mark)
                    yield item

        offset, full = 0, False
        while True:
            items, _ = self._get_json(path, [*params, *_page(self._page, offset)])
            fresh = list(new(items))
            if not fresh:
                break
            yield from fresh
            offset += len(items)
            full = len(items) >= self._page
        limit, cut = offset, False
        while full:
            limit *= 2
            items, cut = self._get_json(path, [*params, *_page(limit, 0)])
            yield from new(items)
            full = len(items) >= limit
        if cut:
            raise TooManyAnswersError(
                f"source {self._name}: the server has more answers than it returns, and ignores "
                "'offset'; query less at once"
            )

    def _get_json(
        self, path: str, params: list[tuple[str, str]]
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the answers, and whether the server warns that there are more."""
        with self._get(path, _JSON, params) as answer:
            if answer.status_code == 204:
                return [], False
            cut = answer.headers.get("Warning", "").startswith("299")
            try:
                items = answer.json()
            except ValueError:
                raise SourceError(f"source {self._name}: answered a query without JSON") from None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise SourceError(
                f"source {self._name}: answered a query with something that is no list"
            )
        return items, cut

    @contextmanager
    def _get(
        self, path: str, accept: str, params: list[tuple[str, str]] | None = None
    ) -> Iterator[requests.Response]:
        """Open a successful answer, else raise an error that quotes neither address nor cause.

        Both may identify a patient.
        """
        try:
            with self._session.get(
                self._url + path,
                params=params,
                headers={"Accept": accept},
                timeout=self._timeout,
                stream=True,
            ) as answer:
                if answer.status_code not in (200, 204, 206):
                    raise _failure(self._name, answer.status_code)
                yield answer
        except requests.exceptions.SSLError:
            raise SourceError(
                f"source {self._name}: its certificate is not trusted; check ca_file"
            ) from None
        except (requests.RequestException, TransportError):
            raise SourceUnreachableError(
                f"source {self._name}: no answer in time or connection lost"
            ) from None

    # -- retrieval ------------------------------------------------------------------------

    def _fetch_series(
        self, study_uid: str, series_uid: str, count: int, into: Path
    ) -> list[ListedInstance]:
        """Fetch a series; return its instances if all arrived, else nothing: then list them."""
        taken: set[str] = set()
        try:
            with WriteGroup() as group:
                self._take(_series_path(study_uid, series_uid), None, taken, into, group)
        except (SourceError, SourceUnavailableError):
            return []  # fetching the rest will raise what is wrong; what arrived is kept
        return [ListedInstance(series_uid, uid) for uid in taken] if len(taken) == count else []

    def _fetch(
        self,
        study_uid: str,
        missing: list[ListedInstance],
        listed: list[ListedInstance],
        into: Path,
    ) -> None:
        """Fetch series of which much is missing, else instances (PS3.18 section 10.4.1.1)."""
        sizes = series_sizes(listed)
        errors: list[PacsgridError] = []
        with WriteGroup() as group:
            for series_uid, uids in uids_by_series(missing).items():
                path = _series_path(study_uid, series_uid)
                wanted, taken = set(uids), set[str]()
                if len(uids) * 4 >= sizes[series_uid]:
                    paths = [path]
                else:
                    paths = [f"{path}/instances/{_segment(uid)}" for uid in uids]
                for one_path in paths:
                    try:
                        self._take(one_path, wanted, taken, into, group)
                    except (SourceError, SourceUnavailableError) as problem:
                        errors.append(problem)
        if errors:
            raise next((e for e in errors if e.retryable), errors[0])

    def _take(
        self, path: str, wanted: set[str] | None, taken: set[str], into: Path, group: WriteGroup
    ) -> None:
        """Write what is wanted (None for all) and not in `taken`, and add it there."""
        try:
            self._take_as(_AS_STORED, path, wanted, taken, into, group)
        except _NotAcceptableError:
            self._take_as(_PLAIN, path, wanted, taken, into, group)

    def _take_as(
        self,
        accept: str,
        path: str,
        wanted: set[str] | None,
        taken: set[str],
        into: Path,
        group: WriteGroup,
    ) -> None:
        """Write each part to a file of its own as it arrives; skip parts that are not wanted."""
        with self._get(path, accept) as answer:
            try:
                boundary = boundary_of(answer.headers.get("Content-Type", ""))
                reader = MultipartReader(answer.raw.stream(PIECE, decode_content=True), boundary)
                for _, content in reader.parts():
                    meta, head = self._head(content)
                    uid = meta.sop_uid
                    if uid in taken or (wanted is not None and uid not in wanted):
                        continue
                    self._limiter.wait()
                    group.write(into / name_for(uid), chain((head,), content))
                    taken.add(uid)
            except MultipartTruncatedError:
                raise SourceUnavailableError(
                    f"source {self._name}: an answer was truncated"
                ) from None
            except MultipartError as error:
                raise SourceError(f"source {self._name}: {error}") from None

    def _head(self, content: Iterator[memoryview]) -> tuple[Meta, bytes | memoryview]:
        """Return a part's file meta information, and what was read of the part so far."""
        head: bytes | memoryview = b""
        for piece in content:
            head = bytes(head) + piece if head else piece
            if meta := read_meta(bytes(head[: HEAD + MOST_META])):
                return meta, head
            if len(head) >= HEAD + MOST_META:
                break
        raise SourceError(f"source {self._name}: a part is not a DICOM file")


def _series_path(study_uid: str, series_uid: str) -> str:
    return f"/studies/{_segment(study_uid)}/series/{_segment(series_uid)}"


def _segment(uid: str) -> str:
    """Return a UID as a segment of a URL.

    Raises
    ------
    SourceError
        It is empty, or consists of dots, which would lead to another resource.
    """
    if not uid.strip(". "):
        raise SourceError(
            "the source lists a UID that is empty or consists of dots; correct it there"
        )
    return quote(uid, safe="")


class _NotAcceptableError(SourceError):
    """The source does not know the transfer syntax ``*``."""


def _failure(name: str, status: int) -> PacsgridError:
    """Return the error of an HTTP status, retryable or final (PS3.18 8.5, RFC 9110 15)."""
    if status in (401, 403):
        return SourceError(
            f"source {name}: refused the credentials (HTTP {status}); check user, password or token"
        )
    if status == 406:
        return _NotAcceptableError(f"source {name}: cannot answer in the requested form (HTTP 406)")
    if status in (408, 425, 429) or (status >= 500 and status != 501):
        return SourceUnreachableError(f"source {name}: busy or failing (HTTP {status})")
    return SourceError(f"source {name}: refused (HTTP {status})")
