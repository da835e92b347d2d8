"""The shell script that fetches a release with iCommands alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

NAME = "fetch.sh"


def release_script(
    release: str, about: str = "", documents: str = "", studies: Mapping[str, str] | None = None
) -> str:
    """Return a script that fetches a version of a release, as a POSIX shell runs it.

    The script continues where it was interrupted, and compares every file with the release's
    checksums before the file gets its place.

    Parameters
    ----------
    release
        The collection of the version (``.../releases/NAME/vN``).
    about
        The first line of its head; by default it says what it fetches.
    documents
        The ticket of the version's documents; empty for an account that may read them.
    studies
        The ticket of each study, by the study's path below the project's collection.

    Returns
    -------
    str
        The script.
    """
    tickets = [f"{documents} ."] if documents else []
    tickets += [f"{ticket} {study}" for study, ticket in (studies or {}).items()]
    about = about or f"Fetches {release} with iCommands."
    text = Path(__file__).with_name(NAME).read_text(encoding="utf-8")
    for token, value in (
        ("@about@", about.replace("\n", "\n# ")),
        ("@release@", shlex.quote(release)),
        ("@tickets@\n", "".join(f"{line}\n" for line in tickets)),
    ):
        text = text.replace(token, value, 1)
    return text
