"""Two zones to test against: embedded ones, or real ones (see tests/support/grids.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from irods_zone import ZoneServer
from pacsgrid.embedded.process import free_port
from pacsgrid.grid import Zone, ensure_project
from pacsgrid.grid.admin import prepare_zone
from pacsgrid.model import ZoneSettings
from support.gridkit import Grid, make_instances
from support.grids import forget, real_zones


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[tuple[Zone, Zone]]:
    with ExitStack() as stack:
        named = real_zones()
        settings = [real.settings for real in named]
        if not named:
            ports = {"brno": free_port(), "praha": free_port()}
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
                    ZoneSettings(name, "127.0.0.1", server.port, "rods", "x", resource, copies)
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
    with Zone(replace(grid.home.settings, bundle=True)) as home:
        yield Grid(home, grid.partner, grid.dir, grid.instances)
