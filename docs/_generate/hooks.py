"""MkDocs hooks: fill in generated parts and include files that live outside `docs/`.

``<!-- generate: NAME -->`` becomes the text of that generator; ``<!-- include: ../FILE -->`` the
text of a file of the repository. Links that leave `docs/` point to the page that includes their
target; a link to any other file of the repository becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
DOCS, ROOT = HERE.parent, HERE.parents[1]
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import generators  # noqa: E402

# The page of the site that includes a file of the repository.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "README.md": "README.md",
    "irods_rules/README.md": "reference/policy.md",
    "plugins/irods_zone/README.md": "reference/embedded-zone.md",
}
_GENERATE = re.compile(r"^<!-- generate: ([a-z-]+) -->$", re.MULTILINE)
_INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def expand(page: str, text: str) -> str:
    """Return a page's Markdown with its generated and included parts.

    Parameters
    ----------
    page
        The page's path below `docs/`.
    text
        Its Markdown.
    """
    text = _GENERATE.sub(lambda found: generators.GENERATORS[found[1]](), text)
    text = _linked(posixpath.dirname(f"docs/{page}"), page, text)
    return _INCLUDE.sub(lambda found: _included(page, found[1]), text)


def _included(page: str, target: str) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(f"docs/{page}"), target))
    text = (ROOT / path).read_text(encoding="utf-8")
    return _linked(posixpath.dirname(path), page, text)


def _linked(folder: str, page: str, text: str) -> str:
    """Point links relative to `folder` of the repository to pages of the site."""

    def link(found: re.Match[str]) -> str:
        target, hash_, anchor = found[3].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            inside = path.removeprefix("docs/")
        elif path in INCLUDED:
            inside = INCLUDED[path]
        else:
            return f"`{path}`" if found[2].strip("`") == path else found[2]
        there = posixpath.relpath(inside, posixpath.dirname(page) or ".")
        return f"{found[1]}[{found[2]}]({there}{hash_}{anchor})"

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def on_page_markdown(markdown: str, /, *, page: Page, config: object, files: object) -> str:
    """Expand each page when MkDocs has read it."""
    return expand(page.file.src_uri, markdown)
