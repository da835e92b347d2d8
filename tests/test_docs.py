"""The documents: their links lead somewhere, each is listed, and the read-me stays short."""

from __future__ import annotations

import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from support.documents import DOCUMENTS, ROOT

HOOKS = ROOT / "docs" / "_generate" / "hooks.py"


@cache
def _whole(document: Path) -> str:
    """Return a document with its generated parts, where it has any."""
    text = document.read_text(encoding="utf-8")
    if "<!-- generate:" not in text:
        return text
    spec = importlib.util.spec_from_file_location("docs_hooks", HOOKS)
    assert spec and spec.loader
    hooks = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(HOOKS.parent))
    try:
        spec.loader.exec_module(hooks)
        return str(hooks.expand(str(document.relative_to(ROOT / "docs")), text))
    finally:
        sys.path.remove(str(HOOKS.parent))


def _anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _whole(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        place, _, anchor = target.partition("#")
        linked = (document.parent / place).resolve() if place else document
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked), target


def test_every_document_is_listed() -> None:
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for document in DOCUMENTS[1:]:
        place = str(document.relative_to(ROOT / "docs"))
        # In the repository the file that a page of the site includes is read itself.
        included = re.match(r"<!-- include: (?:\.\./)+(\S+) -->\s*$", document.read_text("utf-8"))
        target = f"../{included[1]}" if included else place
        assert place == "README.md" or f"({target})" in listed, place
        assert f" {place}\n" in navigation, place


def test_the_read_me_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 100


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_icommands_are_called_as_version_5_knows_them(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    gone = re.findall(r"^.*\bimeta (?:qu|addw)\b.*$", text, re.MULTILINE)
    assert not gone, "iCommands 5 have no such sub-command: ask with iquest"
