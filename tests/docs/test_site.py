"""The site is built without a warning, and what it generates is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pacsgrid.cli.commands import COMMANDS
from pacsgrid.config.schema import SiteFile
from support.documents import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("mkdocs") is None, reason="requirements-docs.txt is not installed"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


def text(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_the_site_is_built(site: Path) -> None:
    assert {"index.html", "glossary.html", "tutorial.html"} <= {p.name for p in site.iterdir()}
    assert not (site / "_generate").exists()


def test_every_part_that_is_generated_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "<!-- generate:" not in page.read_text(encoding="utf-8"), page.name
        assert "<!-- include:" not in page.read_text(encoding="utf-8"), page.name


def test_every_setting_is_listed(site: Path) -> None:
    listed = text(site / "reference" / "site-file.html")
    for name in SiteFile.model_fields:
        assert name in listed


def test_every_command_is_listed(site: Path) -> None:
    listed = text(site / "reference" / "cli.html")
    for command in COMMANDS:
        assert f"pacsgrid {command.name}" in listed


def test_every_dag_and_every_address_is_listed(site: Path) -> None:
    dags = text(site / "reference" / "dags.html")
    for path in (ROOT / "dags").glob("*.py"):
        assert path.stem in dags
    rest = text(site / "reference" / "rest.html")
    addresses = re.findall(
        r'^@app\.\w+\("([^"]+)', (ROOT / "plugins/pacsgrid/web/app.py").read_text(), re.MULTILINE
    )
    assert addresses
    for address in addresses:
        if address != "http":
            assert f"/pacsgrid{address}" in rest, address


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|img|link)\b[^>]*>", page.read_text(encoding="utf-8"))
        assert not [one for one in tags if re.search(r'(?:src|href)="?(?:https?:)?//', one)]
