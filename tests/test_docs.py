"""The documents: their links lead somewhere, the commands that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pacsgrid import cli
from pacsgrid.cli.commands import RENAMED

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?:", target):
            continue
        place, _, anchor = target.partition("#")
        linked = (document.parent / place).resolve() if place else document
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor in anchors, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_there(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = set(re.findall(r"^    ([a-z-]+)", capsys.readouterr().out, re.MULTILINE)) | set(RENAMED)
    assert {"backup", "restore", "receive", "gateway"} <= known
    named = re.findall(r"(?:-m )pacsgrid ([a-z-]+)", document.read_text())
    assert set(named) <= known


def test_every_document_is_listed() -> None:
    listed = (ROOT / "docs" / "README.md").read_text()
    for document in DOCUMENTS[1:]:
        assert document.name == "README.md" or f"({document.name})" in listed, document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_icommands_are_called_as_version_5_knows_them(document: Path) -> None:
    gone = re.findall(r"^.*\bimeta (?:qu|addw)\b.*$", document.read_text(), re.MULTILINE)
    assert not gone, "iCommands 5 have no such sub-command: ask with iquest"
