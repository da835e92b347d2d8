"""The glossary has the words of the code, and the code has the words of the glossary."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from support.documents import DOCUMENTS, ROOT

TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
WORDS = [row.split("|")[1].strip() for row in TEXT.splitlines() if row.startswith("| ")]
MODULES = sorted(set(re.findall(r"`(pacsgrid(?:\.\w+)+)`", TEXT)))
# Words that were chosen for what the code does, and must be explained.
CHOSEN = (
    "project context", "study processor", "element cache", "read tracking", "header parser",
    "truncation", "atomic batch", "log suppression", "release overview", "sync cursor", "records",
    "document repair", "zone pool", "served zone", "read access", "storage SCP", "C-STORE writer",
    "received source", "unhold", "maintain", "remove partner", "study", "series", "instance",
    "AE title", "replica", "resource", "zone", "AVU", "subject", "cohort", "release", "quarantine",
    "held", "vault", "ledger", "manifest", "proof", "withdrawal", "profile",
)  # fmt: skip


@pytest.mark.parametrize("word", CHOSEN)
def test_the_word_is_explained(word: str) -> None:
    assert word in WORDS


@pytest.mark.parametrize("module", MODULES)
def test_the_module_is_there(module: str) -> None:
    assert find_spec(module), module


def test_words_are_in_order_and_once_each() -> None:
    for section in TEXT.split("\n## ")[1:]:
        words = [row.split("|")[1].strip() for row in section.splitlines() if row[:2] == "| "][1:]
        assert words == sorted(words, key=str.lower)
        assert len(set(words)) == len(words)


def test_files_that_pages_name_are_there() -> None:
    named = re.compile(r"`((?:plugins|tests|docker|irods_rules|dags)/[\w./-]+)`")
    for document in DOCUMENTS:
        for path in named.findall(document.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{document.name}: {path}"


def test_every_reason_to_hold_is_listed() -> None:
    listed = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")
    code = re.compile(r'HeldError\(\s*"([a-z-]+)"')
    raised = {
        reason
        for path in (ROOT / "plugins" / "pacsgrid").rglob("*.py")
        for reason in code.findall(path.read_text(encoding="utf-8"))
    }
    assert len(raised) > 30
    # The page says it of an image that it cannot draw; nothing is held for it.
    assert not [one for one in raised - {"no-picture"} if f"`{one}`" not in listed]
