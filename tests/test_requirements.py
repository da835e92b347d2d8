"""What is installed is what was resolved: each pinned, each with the hashes of its files."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FILES = (
    "requirements-uv.txt",
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-docs.txt",
    "docker/airflow/requirements.txt",
)
_PIN = re.compile(r"^[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[^ ]+( ; .+)? \\$")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_and_has_hashes(name: str) -> None:
    lines = [
        line
        for line in (ROOT / name).read_text().splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    assert lines
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if _PIN.match(line):
            assert _HASH.match(after), line
        else:
            assert _HASH.match(line), f"{name}: {line}"


def test_nothing_is_installed_without_its_hash() -> None:
    for file in ("Makefile", "docker/Dockerfile"):
        commands = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
        installs = [line for line in commands if re.search(r"\bpip install\b", line)]
        assert installs
        for line in installs:
            for part in re.split(r"&&|;", line):
                # pacsgrid itself is built from here by what is installed already.
                ours = "--no-deps" in part and ("--no-build-isolation" in part or ".whl" in part)
                assert "pip install" not in part or ours or "--require-hashes" in part, part


def test_what_pacsgrid_requires_is_resolved_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {Requirement(text).name for text in required} - {"pacsgrid"}
    direct = (ROOT / "requirements.in").read_text().splitlines()
    resolved = {Requirement(line).name: line for line in direct if not line.startswith("#")}
    assert names <= resolved.keys()
    # The bounds are the same, so that what is tested is what is installed.
    bounded = {Requirement(text).name: text for text in required if "==" in text}
    assert bounded == {name: resolved[name] for name in bounded}
    pins = (ROOT / "requirements-uv.txt").read_text()
    (build,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert f"\n{Requirement(build).name}==" in f"\n{pins}"
