"""Two zones to test against: embedded or real ones (see tests/support/zones_under_test.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from irods_zone import ZoneServer
from pacsgrid.config import ZoneSettings
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.grid import Zone, ensure_project
from pacsgrid.grid.admin import prepare_zone
from support.deposited_study import Grid, make_instances
from support.zones_under_test import forget, real_zones


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[tuple[Zone, Zone]]:
    with ExitStack() as stack:
        named = real_zones()
        settings = [real.settings for real in named]
        if not named:
            ports = {"brno": reserve_port(), "praha": reserve_port()}
            for name, resource, copies in (("brno", "pair", 2), ("praha", "demoResc", 1)):
                server = ZoneServer(
                    zone=name,
                    directory=tmp_path / name,
                    port=ports[name],
                    admin="rods",
                    password="x",
                    federate={
                        other: ("127.0.0.1", port, "shared")
                        for other, port in ports.items()
                        if other != name
                    },
                )
                stack.enter_context(server)
                settings.append(
                    ZoneSettings(
                        name=name,
                        host="127.0.0.1",
                        port=server.port,
                        user="rods",
                        password="x",
                        resource=resource,
                        copies=copies,
                    )
                )
        home, partner = (stack.enter_context(Zone(one)) for one in settings)
        if not named:
            for _ in range(2):
                prepare_zone(home, {"pair": ["disk1", "disk2"]}, str(tmp_path / "vaults"))
        for zone in (home, partner):
            forget(zone)
            ensure_project(zone, "demo")
        yield home, partner


@pytest.fixture
def grid(tmp_path: Path, zones: tuple[Zone, Zone]) -> Grid:
    return Grid(*zones, tmp_path, make_instances(tmp_path / "outbox"))


@pytest.fixture
def bundling(grid: Grid) -> Iterator[Grid]:
    """The same grid, its home zone set to bundles."""
    with Zone(grid.home.settings.replace(bundle=True)) as home:
        yield Grid(home, grid.partner, grid.dir, grid.instances)
