"""Shared fixtures: the parts are real, and each is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsgrid.embedded.postgres import EmbeddedPostgres


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
