"""The documents, their code blocks, and the commands in those."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("sh", "bash")
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes
    ----------
    page
        The document's path below the repository.
    line
        The number of its first line.
    language
        What stands behind the fence.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[str]:
        """Yield the commands of a shell block, without comments and line continuations."""
        for line in self.text.replace("\\\n", " ").splitlines():
            line = re.sub(r"(^|\s+)#.*$", "", line)
            yield from filter(None, (part.strip() for part in line.split("&&")))


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all documents, of some languages or of all."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for one in _BLOCK.finditer(text):
            line = text.count("\n", 0, one.start()) + 2
            page = str(path.relative_to(ROOT))
            found.append(Block(page, line, one[2], textwrap.dedent(one[3])))
    return [one for one in found if not languages or one.language in languages]


def shell_commands() -> dict[str, str]:
    """Return every command of the shell blocks once, with the place where it is first shown."""
    found: dict[str, str] = {}
    for block in blocks(*SHELL):
        for command in block.commands():
            found.setdefault(" ".join(command.split()), str(block))
    return found


def program(command: str) -> str:
    """Return what a command starts, without variables that are set for it and its folder."""
    first = next(w for w in shlex.split(command) if not re.match(r"[A-Za-z_]+=", w))
    return first.removeprefix(".venv/bin/")


def pacsgrid_arguments(command: str) -> list[str]:
    """Return the arguments of a `pacsgrid` command, without where its output goes."""
    words = shlex.split(re.sub(r"\$\([^)]*\)", "TODAY", command.split(" > ")[0]))
    at = next(n for n, word in enumerate(words) if word.removeprefix(".venv/bin/") == "pacsgrid")
    return words[at + 1 :]
