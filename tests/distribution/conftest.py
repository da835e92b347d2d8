"""The wheel, and the environments that it is installed into."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.installed import ROOT, Environment, make_environment, uv


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    uv("build", "-q", "--wheel", "--no-build-isolation", "-p", sys.executable, "-o", out, ROOT)
    (built,) = out.glob("*.whl")
    return built


def _installed(wheel: Path, place: Path, extra: str = "") -> Environment:
    """Return an environment as `pip install` leaves it, in the versions that are pinned."""
    made = make_environment(place / "venv")
    pins = ROOT / "requirements.txt"
    uv("pip", "install", "-q", "-p", made.program("python"), "-c", pins, f"{wheel}{extra}")
    return made


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return _installed(wheel, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def deid(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return _installed(wheel, tmp_path_factory.mktemp("deid"), "[deid]")


@pytest.fixture(scope="session")
def gateway(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return _installed(wheel, tmp_path_factory.mktemp("gateway"), "[gateway]")


@pytest.fixture(scope="session")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel, with links to the third-party packages that the tests run with."""
    made = make_environment(tmp_path_factory.mktemp("full") / "venv")
    for folder in (Path(one) for one in sys.path if Path(one).name == "site-packages"):
        for entry in folder.iterdir():
            link = made.packages / entry.name
            ours = entry.name.lstrip("_").startswith(("pacsgrid", "irods_zone", "__editable__"))
            if not ours and entry.name != "__pycache__" and not link.exists():
                link.symlink_to(entry)
    uv("pip", "install", "-q", "-p", made.program("python"), "--no-deps", wheel)
    return made
