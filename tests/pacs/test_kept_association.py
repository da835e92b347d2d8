"""One association serves the studies of a batch, and what happens when a PACS does not like it."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from pacsgrid.config import SourceSettings
from pacsgrid.embedded.pacs import ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import SourceUnavailableError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs import open_source, source_limits
from pacsgrid.pacs.answer_collector import AnswerCollector
from pacsgrid.pacs.query_check import Answer
from support.dcmqrscp import DCMQRSCP, Dcmqrscp
from support.dicom import ct
from support.faulty_proxy import FaultyProxy
from support.pydicom_files import Sample
from support.waiting import wait_until

STUDIES = [f"1.2.826.7.{number}" for number in range(6)]


def _samples(folder: Path) -> list[Sample]:
    kind = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    return [
        Sample(ct(folder / f"{study}.{one}.dcm", study, f"{study}.1.{one}"), study, "", *kind)
        for study in STUDIES
        for one in range(2)
    ]


@pytest.fixture(scope="module", params=["orthanc", "dcmqrscp"])
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SourceSettings]:
    """A PACS that holds the studies."""
    folder = tmp_path_factory.mktemp(request.param)
    samples = _samples(folder / "made")
    if request.param == "orthanc":
        if not ORTHANC.exists():
            pytest.skip("no Orthanc")
        with EmbeddedPacs(folder / "pacs", engine="orthanc") as pacs:
            assert pacs.load([one.path for one in samples]) == len(samples)
            yield pacs.settings()
    else:
        if not DCMQRSCP.exists():
            pytest.skip("no dcmqrscp")
        with Dcmqrscp(folder / "pacs", samples, reserve_port()) as archive:
            assert len(archive.load()) == len(samples)
            yield archive.settings()


@pytest.mark.parametrize(("way", "associations"), [("get", 2), ("move", 1)])
def test_a_batch_is_retrieved_over_one_association(
    peer: SourceSettings, way: str, associations: int, tmp_path: Path
) -> None:
    # For C-GET the first one, which lists the first study, cannot know what to propose.
    with FaultyProxy(peer.port, 0.0, ()) as proxy:
        settings = peer.replace(port=proxy.port, retrieve=way, max_associations=1)
        source = open_source(settings.replace(state=tmp_path / "state"))
        with source.keep_open():
            for uid in STUDIES:
                (study,) = source.find_studies(StudyQuery(study_uids=(uid,)))
                assert len(source.list_instances(study)) == 2
                assert len(source.retrieve(study, tmp_path / uid)) == 2
        assert sum(proxy.done.values()) == associations
        assert len(source.list_series(study)) == 1
        assert sum(proxy.done.values()) == associations + 1


def test_a_pacs_that_ends_an_idle_association_gets_a_new_one(
    peer: SourceSettings, tmp_path: Path
) -> None:
    with FaultyProxy(peer.port, 0.0, ()) as first, FaultyProxy(peer.port, 0.0, ()) as second:
        for number, proxy in enumerate((first, second)):
            source = open_source(peer.replace(port=proxy.port, state=tmp_path / f"{number}"))
            with source.keep_open():
                for uid in STUDIES[:4]:
                    study = FoundStudy(uid, "")
                    assert len(source.retrieve(study, tmp_path / f"{number}.{uid}")) == 2
                    if proxy is second:
                        for connection in list(proxy._open):
                            with suppress(OSError):
                                connection.shutdown(socket.SHUT_RDWR)
    assert sum(first.done.values()) == 2 and sum(second.done.values()) == 5


class Scp:
    """A PACS that answers C-FINDs, and may be unwilling to answer a second one."""

    def __init__(self, second: str = "") -> None:
        self.second = second
        self.associations = 0
        self.answers: Callable[[], int] = lambda: 1
        self._asked: dict[int, int] = {}
        self.released = threading.Event()
        entity = AE(ae_title="PACS")
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_ACCEPTED, self._accepted)]
        handlers += [(evt.EVT_RELEASED, lambda event: self.released.set())]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def _accepted(self, event: evt.Event) -> None:
        self.associations += 1

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = self._asked[id(event.assoc)] = self._asked.get(id(event.assoc), 0) + 1
        if asked > 1 and self.second == "refuses":
            yield 0xC001, None
            return
        if asked > 1 and self.second == "aborts":
            event.assoc.abort()
            return
        if asked > 1 and self.second == "is silent":
            self.released.wait(30)
            return
        data = Dataset()
        data.QueryRetrieveLevel, data.StudyInstanceUID = "STUDY", event.identifier.StudyInstanceUID
        data.SeriesInstanceUID, data.Modality = "1.2.3.4", "CT"
        yield 0xFF00, data

    def settings(self, state: Path, **more: object) -> SourceSettings:
        base = SourceSettings(
            name="pacs", kind="dimse", host="127.0.0.1", port=self.port, ae_title="PACS"
        )
        return base.replace(state=state, **more)


@contextmanager
def serving(second: str = "") -> Iterator[Scp]:
    scp = Scp(second)
    try:
        yield scp
    finally:
        scp.released.set()
        scp._server.shutdown()


@pytest.mark.parametrize("second", ["refuses", "aborts", "is silent"])
def test_a_pacs_that_answers_one_request_only_is_still_asked(second: str, tmp_path: Path) -> None:
    with serving(second) as scp:
        source = open_source(scp.settings(tmp_path, answer_seconds=2.0, failures=1))
        with source.keep_open():
            for uid in STUDIES:
                assert len(source.list_series(FoundStudy(uid, ""))) == 1
        # It is found out once: the second request went over the first association in vain.
        assert scp.associations == len(STUDIES)


def test_what_is_kept_has_a_slot_until_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = FoundStudy(STUDIES[0], "")
    with serving() as scp:
        mine = scp.settings(tmp_path, max_associations=1)
        others = open_source(mine.replace(answer_seconds=0.1))
        source = open_source(mine)
        with source.keep_open():
            assert source.list_series(study)
            with pytest.raises(SourceUnavailableError, match="max_associations"):
                others.list_series(study)
            assert source.list_series(study)
        assert others.list_series(study)
        assert scp.associations == 2
        monkeypatch.setattr(source_limits, "_KEPT_SECONDS", 0.0)
        with source.keep_open():
            assert source.list_series(study)
            wait_until(lambda: source._kept is None)
            assert others.list_series(study)
            assert source.list_series(study)


def test_a_long_answer_takes_no_more_memory_than_a_short_one() -> None:
    def answers(count: int) -> Iterator[Answer]:
        for number in range(count):
            # Every third study comes twice.
            uid = f"1.2.826.0.1.3680043.8.498.{number - (number % 3 == 1)}"
            yield Answer(uid, f"{number:010d}", f"A{number:08d}", "20240501", ("CT",), 200)

    def peak(count: int) -> int:
        tracemalloc.start()
        collector = AnswerCollector("pacs", 0)
        collector.add(StudyQuery(), answers(count))
        assert sum(1 for _ in collector.studies(lambda study: True)) == count - count // 3
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(30)
    assert peak(6_000) < 2 * peak(1_200)
