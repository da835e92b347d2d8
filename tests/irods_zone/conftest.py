"""A zone, and sessions of its administrator and of two users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from irods.session import iRODSSession

from irods_zone import ZoneServer
from support.zone_client import login


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[ZoneServer]:
    with ZoneServer("brno", tmp_path / "brno") as server:
        yield server


@pytest.fixture
def rods(zone: ZoneServer) -> Iterator[iRODSSession]:
    with login(zone, "rods", "rods") as session:
        yield session


def user(zone: ZoneServer, rods: iRODSSession, name: str) -> Iterator[iRODSSession]:
    rods.users.create(name, "rodsuser")
    rods.users.modify(name, "password", f"{name}-secret")
    with login(zone, name, f"{name}-secret") as session:
        yield session


@pytest.fixture
def alice(zone: ZoneServer, rods: iRODSSession) -> Iterator[iRODSSession]:
    yield from user(zone, rods, "alice")


@pytest.fixture
def bob(zone: ZoneServer, rods: iRODSSession) -> Iterator[iRODSSession]:
    yield from user(zone, rods, "bob")
