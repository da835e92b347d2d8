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


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment as `pip install pacsgrid` leaves it, in the versions that are pinned."""
    made = make_environment(tmp_path_factory.mktemp("bare") / "venv")
    pins = ROOT / "requirements.txt"
    uv("pip", "install", "-q", "-p", made.program("python"), "-c", pins, wheel)
    return made


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
