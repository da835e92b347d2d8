"""The grid that tests run against: embedded zones, or real ones that PACSGRID_TEST_ZONES names.

The variable is the path of a YAML file with `home` and `partner`, each with the fields of
ZoneSettings (`name, host, port, user, password, resource, copies`, ...) and

- `vault`: the directory below which the zone's storage lies, readable and writable here;
- `kill` and `start`: command lines that end the zone's server as a power cut would, and start it
  and wait until it answers.

The account must be a rodsadmin. The tests of the pipeline call the zones `brno` (home) and `praha`
(partner), so theirs must be named so; the project `demo` is removed from both before each test.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pacsgrid.config import ZoneSettings
from pacsgrid.embedded.stack import COPIES, Stack
from pacsgrid.grid import Zone, remove_collection

VARIABLE = "PACSGRID_TEST_ZONES"
PARTS = ("home", "partner")


@dataclass(frozen=True)
class RealZone:
    """A zone that somebody else runs; `kill` and `pid` stand in for those of its process."""

    settings: ZoneSettings
    vault: Path
    kill_command: Sequence[str]
    start_command: Sequence[str]
    pid: int = 0

    def kill(self) -> None:
        """End its server at once."""
        subprocess.run(self.kill_command, check=True)

    def start(self) -> None:
        """Start its server unless it runs."""
        subprocess.run(self.start_command, check=True)

    def stop(self) -> None:
        """Leave it to its owner, running."""
        self.start()


def real_zones() -> list[RealZone]:
    """The home and the partner zone that the variable names; none without it."""
    named = os.environ.get(VARIABLE)
    if not named:
        return []
    given = yaml.safe_load(Path(named).read_text())
    return [_zone(given[part]) for part in PARTS]


def _zone(given: dict[str, Any]) -> RealZone:
    vault, kill, start = (given.pop(key, None) for key in ("vault", "kill", "start"))
    return RealZone(ZoneSettings(**given), Path(vault or "/nowhere"), kill or [], start or [])


def forget(zone: Zone, project: str = "demo") -> None:
    """Remove what an earlier test left of a project, nothing kept in the trash."""
    remove_collection(zone, f"/{zone.settings.name}/home/{project}")


class RealStack(Stack):
    """The stack without its zones: they are real ones."""

    def start_zones(self) -> None:
        """Empty the real zones of the project; they run already."""
        for real in real_zones():
            name = real.settings.name
            self.zones[name] = real  # type: ignore[assignment]
            self.storage[name] = real.vault
            real.start()
            with Zone(real.settings) as zone:
                forget(zone)

    def start_zone(self, zone: str) -> None:
        """Start a zone that was killed."""
        self.zones[zone].start()

    def zone_section(self, name: str) -> dict[str, Any]:
        """What the site file says of a real zone."""
        (real,) = (one for one in real_zones() if one.settings.name == name)
        password = self.dir / f"{name}.password"
        password.write_text(real.settings.password.get_secret_value())
        kept = ("host", "port", "user", "resource", "bundle")
        return {
            **{key: getattr(real.settings, key) for key in kept},
            "password_file": str(password),
            "copies": COPIES[name],
        }


def bare_stack(directory: Path, say: Callable[[str], None] = lambda text: None) -> Stack:
    """A stack without Airflow, on real zones where they are named."""
    kind = RealStack if real_zones() else Stack
    return kind(directory, airflow=False, say=say)
