"""Shared fixtures: the parts are real, and each is started once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.ledger.database import close_pool
from support.seeded import number_of

# The same examples in every run.
settings.register_profile("seeded", derandomize=True)
settings.load_profile("seeded")


class _ByServers(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out what shares servers together: Airflow's tests, and each other file by itself."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/e2e" if file.startswith("tests/e2e/") else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByServers:
    return _ByServers(config, log)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "pg") as server:
        yield server


@pytest.fixture
def dsn(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the test's own."""
    name = f"t{number_of(request.node.nodeid, 15)}"
    postgres.create_database(name)
    yield postgres.dsn(name)
    close_pool(postgres.dsn(name))


@pytest.fixture(scope="module")
def module_dsn(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that the tests of a module share."""
    name = f"m{number_of(request.node.nodeid, 15)}"
    postgres.create_database(name)
    yield postgres.dsn(name)
    close_pool(postgres.dsn(name))
