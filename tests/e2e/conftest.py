"""One stack for every test of this folder: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import Stack
from support.ingested_studies import held_of, two_studies
from support.statsd_server import Server


@pytest.fixture(scope="session")
def statsd() -> Iterator[Server]:
    """The StatsD server that the stack's Airflow tells its metrics."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, statsd: Server) -> Iterator[Stack]:
    metrics = {
        "METRICS__STATSD_ON": "True",
        "METRICS__STATSD_HOST": "127.0.0.1",
        "METRICS__STATSD_PORT": str(statsd.port),
        # Batches of four studies: every other test's ingest fits into one wave.
        "CORE__MAX_MAP_LENGTH": "5",
    }
    where = tmp_path_factory.mktemp("e2e") / "stack"
    with Stack(where, say=print, settings=metrics) as stack:
        yield stack


@pytest.fixture(scope="session")
def filled(stack: Stack) -> Stack:
    """The stack after an ingest with one good study and one that two patients share."""
    two_studies(stack, "1.2.826.77")
    return stack


@pytest.fixture(scope="session")
def held(filled: Stack) -> str:
    """The reference of the study that is held with its files."""
    return held_of(filled, "1.2.826.77")


@pytest.fixture(scope="session")
def spent(filled: Stack) -> str:
    """Two more such studies, whose good one is withdrawn and held one rejected: their root UID."""
    two_studies(filled, "1.2.826.78")
    return "1.2.826.78"


@pytest.fixture
def spent_held(filled: Stack, spent: str) -> str:
    """The reference of their held study."""
    return held_of(filled, spent)


@pytest.fixture(scope="session")
def schedulers(stack: Stack) -> Iterator[list[ChildProcess]]:
    """Schedulers that took the place of the stack's own, for the rest of the session."""
    started: list[ChildProcess] = []
    yield started
    for child in started:
        child.stop()
