"""Shared fixtures: the parts are real, and each is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsgrid.embedded.postgres import EmbeddedPostgres


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares servers: Airflow's tests, and each other file by itself."""
    for item in items:
        whole = item.get_closest_marker("e2e") is not None
        item.add_marker(pytest.mark.xdist_group("e2e" if whole else str(item.path)))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "pg") as server:
        yield server


@pytest.fixture
def dsn(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    name = f"t{abs(hash(request.node.nodeid))}"
    postgres.create_database(name)
    return postgres.dsn(name)
