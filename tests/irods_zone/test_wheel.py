"""What others install: the wheel in an environment of its own, with its command and fixtures."""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import irods_zone
from support.installed import ROOT, Environment, make_environment, uv

PACKAGE = ROOT / "plugins/irods_zone"
README = (PACKAGE / "README.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    out = tmp_path_factory.mktemp("dist")
    there = ["--no-build-isolation"] if find_spec("hatchling") else []  # else it is downloaded
    uv("build", "-q", *there, "-p", sys.executable, "-o", out, PACKAGE)
    assert list(out.glob("*.tar.gz"))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel alone."""
    made = make_environment(tmp_path_factory.mktemp("bare") / "venv")
    uv("pip", "install", "-q", "-p", made.program("python"), "--no-deps", wheel)
    return made


@pytest.fixture(scope="module")
def with_pytest(bare: Environment) -> Environment:
    """The same environment, with links to the pytest and client that these tests run with."""
    for found in required("pytest", "python-irodsclient"):
        for entry in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = bare.packages / entry
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(entry))))
    return bare


def required(*names: str) -> list[Distribution]:
    """Return installed distributions and all that they require."""
    found: dict[str, Distribution] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = distribution(name)
            for text in found[name].requires or ():
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    todo.append(requirement.name)
    return list(found.values())


def run(made: Environment, home: Path, program: str, *arguments: str | Path) -> str:
    done = made.run(home, *arguments, program=program)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


def test_the_command_needs_python_alone(bare: Environment, tmp_path: Path) -> None:
    assert run(bare, tmp_path, "irods-zone", "--version").startswith("irods-zone ")
    assert "--federate" in run(bare, tmp_path, "python", "-m", "irods_zone", "--help")
    assert bare.run(tmp_path, "check", "--dir", tmp_path, program="irods-zone").returncode == 2
    file = run(bare, tmp_path, "python", "-c", "import irods_zone; print(irods_zone.__file__)")
    assert file.startswith(str(bare.packages))


def test_pytest_finds_the_fixtures(with_pytest: Environment, tmp_path: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", README, re.S)[1]
    (tmp_path / "test_example.py").write_text(example)
    assert "2 passed" in run(with_pytest, tmp_path, "python", "-m", "pytest", "-v")


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
    with_pytest: Environment, tmp_path: Path, setting: str, shared: bool
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{setting}\n")
    (tmp_path / "test_scopes.py").write_text(SCOPES.format(shared=shared))
    assert "2 passed" in run(with_pytest, tmp_path, "python", "-m", "pytest", "-v")
