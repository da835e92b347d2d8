"""Virtual environments with pacsgrid's wheel in them, apart from this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


def uv(*arguments: str | Path) -> None:
    beside = Path(sys.executable).with_name("uv")
    program = beside if beside.exists() else shutil.which("uv")
    assert program, "uv is not installed; see requirements-uv.txt"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, env=_clean())
    assert done.returncode == 0, done.stderr


def _clean() -> dict[str, str]:
    """The variables of this process without those that lead Python, Airflow or pacsgrid here."""
    led = (
        "PYTHON", "PYTEST_", "PACSGRID_", "AIRFLOW", "IRODS_", "VIRTUAL_ENV", "XDG_CONFIG_HOME",
    )  # fmt: skip
    return {name: value for name, value in os.environ.items() if not name.startswith(led)}


@dataclass(frozen=True)
class Environment:
    """A virtual environment in which the wheel is installed."""

    place: Path

    def program(self, name: str) -> Path:
        return self.place / "bin" / name

    @property
    def packages(self) -> Path:
        (found,) = self.place.glob("lib/python3.*/site-packages")
        return found

    def variables(self, home: Path, **more: str) -> dict[str, str]:
        return {**_clean(), "HOME": str(home), **more}

    def run(
        self, home: Path, *command: str | Path, program: str = "pacsgrid", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in a directory of its own."""
        return subprocess.run(
            [self.program(program), *command],
            capture_output=True,
            text=True,
            cwd=home,
            env=self.variables(home, **more),
        )

    def top_modules(self, home: Path, code: str, arguments: Sequence[str] = ()) -> set[str]:
        """Return the top-level modules that are loaded when `code` has run."""
        told = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
        done = self.run(home, "-c", told, *arguments, program="python")
        assert done.returncode == 0, done.stderr
        return set(done.stdout.splitlines()[-1].split())


def make_environment(place: Path) -> Environment:
    uv("venv", "-q", "-p", sys.executable, place)
    return Environment(place)
