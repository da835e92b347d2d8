"""A file through anonymiser and checker, by itself."""

from __future__ import annotations

from pathlib import Path

from pacsgrid.deid import (
    Profile,
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
)
from pacsgrid.model import AnonymisedInstance

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


def checked(path: Path, profile: Profile, out: Path | None = None) -> AnonymisedInstance:
    """Anonymise into `out`, or a folder beside the file, and check; raises HeldError."""
    made = anonymise_file(
        path, out or path.parent / "out", PSEUDONYMS, profile, collect_identifiers([path])
    )
    check_file(path, made.path, profile)
    return made
