"""Fixtures for the tests of projects that use iRODS; pytest finds them by itself.

- ``irods_zone``: a running zone.
- ``irods_session``: a session of python-irodsclient in it, as its administrator.
- ``irods_zone_factory``: starts further zones, which run until the end of the test session.

The first two are made anew for each test. With ``irods_zone_scope = session`` in pytest's
configuration (or ``module``, ``class`` or ``package``) tests share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from .server import ZoneServer

if TYPE_CHECKING:
    from irods.session import iRODSSession

Scope = Literal["session", "package", "module", "class", "function"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``irods_zone_scope``."""
    parser.addini(
        "irods_zone_scope",
        "scope of irods_zone and irods_session: function, class, module, package or session",
        default="function",
    )


def _scope(fixture_name: str, config: pytest.Config) -> Scope:
    return cast(Scope, config.getini("irods_zone_scope"))


@pytest.fixture(scope=_scope)
def irods_zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZoneServer]:
    """Run a zone ``tempZone`` with the administrator ``rods``, password ``rods``."""
    with ZoneServer("tempZone", tmp_path_factory.mktemp("irods-zone")) as zone:
        yield zone


@pytest.fixture(scope=_scope)
def irods_session(irods_zone: ZoneServer) -> Iterator[iRODSSession]:
    """Open a session of python-irodsclient as the administrator of ``irods_zone``."""
    from irods.session import iRODSSession

    with iRODSSession(**irods_zone.session_arguments()) as session:
        yield session


@pytest.fixture(scope="session")
def irods_zone_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ZoneServer]]:
    """Return a function that starts a zone; it takes the arguments of `ZoneServer` by name."""
    with ExitStack() as running:

        def start(zone: str = "tempZone", **options: Any) -> ZoneServer:
            directory = options.pop("directory", None) or tmp_path_factory.mktemp(zone)
            return running.enter_context(ZoneServer(zone, directory, **options))

        yield start
