"""What others install: the wheel in an environment of its own, with its command and fixtures."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

import irods_zone

PACKAGE = Path(__file__).resolve().parents[2] / "plugins/irods_zone"
README = (PACKAGE / "README.md").read_text()


def _environment() -> dict[str, str]:
    """The variables of this process without those that lead Python to this checkout."""
    led = ("PYTHON", "IRODS_", "VIRTUAL_ENV", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(led)}


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=_environment())
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    assert program, "uv is not installed; see requirements-uv.txt"
    return program


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    place = tmp_path_factory.mktemp("dist")
    options = ["--python", sys.executable]
    if importlib.util.find_spec("hatchling"):
        options.append("--no-build-isolation")
    run(uv, "build", "-q", *options, "-o", place, PACKAGE, cwd=place)
    (found,) = place.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bin_folder(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel alone."""
    place = tmp_path_factory.mktemp("bare") / "venv"
    run(uv, "venv", "-q", "-p", sys.executable, place, cwd=wheel.parent)
    run(
        uv, "pip", "install", "-q", "--no-deps", "-p", place / "bin/python", wheel, cwd=wheel.parent
    )
    return place / "bin"


def test_the_wheel_holds_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
    package = {
        f"irods_zone/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert {name for name in names if not name.startswith(info)} == package
    assert f"{info}/licenses/LICENSE" in names
    assert f"\nVersion: {irods_zone.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata and "## Quick start" in metadata


def test_the_command_needs_python_alone(bin_folder: Path, tmp_path: Path) -> None:
    assert run(bin_folder / "irods-zone", "--version", cwd=tmp_path).startswith("irods-zone ")
    assert "--federate" in run(bin_folder / "python", "-m", "irods_zone", "--help", cwd=tmp_path)
    run(bin_folder / "irods-zone", "check", "--dir", tmp_path, cwd=tmp_path, status=2)
    code = (
        "import irods_zone, sys; print(irods_zone.__file__); assert 'pacsgrid' not in sys.modules"
    )
    assert str(bin_folder.parent) in run(bin_folder / "python", "-c", code, cwd=tmp_path)


@pytest.fixture(scope="module")
def with_pytest(bin_folder: Path) -> Path:
    """The environment's Python, which now also finds the pytest and client of this one."""
    (packages,) = bin_folder.parent.glob("lib/python*/site-packages")
    (packages / "pytest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_folder / "python"


def test_pytest_finds_the_fixtures(with_pytest: Path, tmp_path: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", README, re.S)[1]
    (tmp_path / "test_example.py").write_text(example)
    told = run(with_pytest, "-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "2 passed" in told


SCOPES = """
ports = set()

def test_one(irods_zone, irods_session):
    ports.add(irods_zone.port)
    irods_session.collections.create("/tempZone/home/rods/made")

def test_two(irods_zone, irods_session):
    ports.add(irods_zone.port)
    assert irods_session.collections.exists("/tempZone/home/rods/made") is {shared}
    assert (len(ports) == 1) is {shared}
"""


@pytest.mark.parametrize(("setting", "shared"), [("", False), ("irods_zone_scope = session", True)])
def test_scope_of_the_fixtures(
    with_pytest: Path, tmp_path: Path, setting: str, shared: bool
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{setting}\n")
    (tmp_path / "test_scopes.py").write_text(SCOPES.format(shared=shared))
    told = run(with_pytest, "-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "2 passed" in told
