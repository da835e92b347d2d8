"""Limits of associations and rate, hours, pauses after failures; TLS and user identity."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from pacsgrid.config import SourceSettings
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import SourceError, SourceUnavailableError
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.dimse_source import DimseSource
from pacsgrid.pacs.rate_limiter import RateLimiter
from pacsgrid.pacs.source_limits import LimitedSource
from support.certificates import make_certificates
from support.waiting import wait_until


class Scp:
    """A PACS that answers C-ECHO and C-FIND and counts its simultaneous associations."""

    def __init__(self, **server: object) -> None:
        self.now = self.most = 0
        self.users: list[tuple[bytes, bytes]] = []
        self._lock = threading.Lock()
        self.may_answer = threading.Event()
        self.may_answer.set()
        entity = AE(ae_title="PACS")
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(Verification)
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_USER_ID, self._user)]
        self._server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=handlers, **server
        )
        self.port = self._server.socket.getsockname()[1]

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        assert self.may_answer.wait(60)
        with self._lock:
            self.now -= 1
        data = Dataset()
        data.QueryRetrieveLevel, data.StudyInstanceUID = "STUDY", "1.2.3"
        yield 0xFF00, data

    def _user(self, event: evt.Event) -> tuple[bool, bytes | None]:
        self.users.append((event.primary_field, event.secondary_field))
        return event.secondary_field == b"right", None

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def scp() -> Iterator[Scp]:
    server = Scp()
    yield server
    server.close()


def settings_for(port: int, state: Path, **more: object) -> SourceSettings:
    base = SourceSettings(
        name="pacs", kind="dimse", host="127.0.0.1", port=port, ae_title="PACS", state=state
    )
    return base.replace(**more)


def find_all(settings: SourceSettings) -> int:
    return len(list(open_source(settings).find_studies(StudyQuery())))


def test_no_more_at_once_than_allowed(scp: Scp, tmp_path: Path) -> None:
    settings = settings_for(scp.port, tmp_path, max_associations=2)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(find_all(settings))) for _ in range(6)]
    scp.may_answer.clear()
    for one in threads:
        one.start()
    wait_until(lambda: scp.now == 2)
    with pytest.raises(SourceUnavailableError, match="max_associations"):
        find_all(settings.replace(answer_seconds=0.3))
    scp.may_answer.set()
    for one in threads:
        one.join()
    assert found == [1] * 6 and scp.most == 2


def test_all_in_use_for_too_long(scp: Scp, tmp_path: Path) -> None:
    settings = settings_for(scp.port, tmp_path, answer_seconds=0.3)
    with (
        LimitedSource(settings, open_source(settings))._slot(),
        pytest.raises(SourceUnavailableError, match="max_associations"),
    ):
        find_all(settings)
    assert find_all(settings) == 1


def test_left_alone_after_failures_and_told_once(
    scp: Scp, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = settings_for(reserve_port(), tmp_path, failures=3, pause_seconds=3600.0)
    for _ in range(3):
        with pytest.raises(SourceUnavailableError, match="no association"):
            find_all(deaf)
    alive = deaf.replace(port=scp.port)
    for _ in range(3):
        with pytest.raises(SourceUnavailableError, match="is not asked for"):
            find_all(alive)
    assert scp.most == 0
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1
    open_source(alive).echo()  # a steward looks: it is well again
    assert find_all(alive) == 1
    with pytest.raises(SourceUnavailableError, match="no association"):
        find_all(deaf)


def test_after_the_pause_one_failure_is_enough(scp: Scp, tmp_path: Path) -> None:
    deaf = settings_for(reserve_port(), tmp_path, failures=2, pause_seconds=0.2)
    for _ in range(2):
        with pytest.raises(SourceUnavailableError, match="no association"):
            find_all(deaf)

    def is_asked_again() -> bool:
        with pytest.raises(SourceUnavailableError) as refused:
            find_all(deaf.replace(pause_seconds=3600.0))
        return "no association" in str(refused.value)

    wait_until(is_asked_again)
    with pytest.raises(SourceUnavailableError, match="is not asked for"):
        find_all(deaf.replace(port=scp.port))


def test_a_refusal_is_no_failure(scp: Scp, tmp_path: Path) -> None:
    entity = AE(ae_title="ECHO")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        settings = settings_for(server.socket.getsockname()[1], tmp_path, failures=1)
        for _ in range(2):
            with pytest.raises(SourceError, match="no presentation context"):
                find_all(settings)
    finally:
        server.shutdown()
    assert find_all(settings.replace(port=scp.port)) == 1


@pytest.mark.parametrize(
    ("hours", "at", "open_now"),
    [
        ("", "12:00", True),
        ("20:00-06:00", "23:30", True),
        ("20:00-06:00", "05:59", True),
        ("20:00-06:00", "06:00", False),
        ("20:00-06:00", "12:00", False),
        ("08:00-16:00", "08:00", True),
        ("08:00-16:00", "16:00", False),
    ],
)
def test_hours(hours: str, at: str, open_now: bool, scp: Scp, tmp_path: Path) -> None:
    settings = settings_for(scp.port, tmp_path, hours=hours)
    moment = datetime.fromisoformat(f"2024-05-01T{at}")
    source = LimitedSource(settings, DimseSource(settings), now=lambda: moment)
    if open_now:
        assert len(list(source.find_studies(StudyQuery()))) == 1
    else:
        with pytest.raises(SourceUnavailableError, match=hours):
            source.find_studies(StudyQuery())


def test_pace_spreads_instances_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 100.0 + sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    pace = RateLimiter(4)
    for _ in range(9):
        pace.wait()
    assert sum(slept) == pytest.approx(2.0)
    RateLimiter(0).wait()
    assert sum(slept) == pytest.approx(2.0)


def test_tls_and_user_identity(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.server_key)
    context.load_verify_locations(made.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    scp = Scp(ssl_context=context)
    try:
        settings = settings_for(
            scp.port,
            tmp_path / "state",
            host="localhost",
            tls=True,
            ca_file=made.authority,
            cert_file=made.client,
            key_file=made.client_key,
            user="reader",
            password="right",
        )
        assert find_all(settings) == 1
        assert scp.users[-1] == (b"reader", b"right")
        with pytest.raises((SourceError, SourceUnavailableError)):
            find_all(settings.replace(password="wrong"))
        with pytest.raises(SourceUnavailableError):
            find_all(settings.replace(host="127.0.0.1"))  # not the name it proves
        with pytest.raises(SourceUnavailableError):
            find_all(settings.replace(cert_file=None, key_file=None))
    finally:
        scp.close()
