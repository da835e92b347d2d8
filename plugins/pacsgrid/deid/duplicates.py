"""Find files of a study that have the same SOPInstanceUID: copies of an instance, or conflicts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import UID

from ..errors import HeldError
from .pixel_location import find_pixel_span
from .regularise import regularise
from .truncation import ElementWalker, IrregularError, check_complete

_CHUNK = 1 << 20
_PREFIX, _SYNTAX = 132, 0x00020010


@dataclass(frozen=True)
class DuplicateInstances:
    """Files that share a SOPInstanceUID with another.

    Attributes
    ----------
    identical
        Groups of files with the same data set.
    conflicting
        Files with the same UID but different data sets.
    """

    identical: tuple[tuple[Path, ...], ...] = ()
    conflicting: frozenset[Path] = field(default_factory=frozenset)

    @classmethod
    def find(cls, files: Iterable[tuple[str, Path]]) -> DuplicateInstances:
        """Compare the files that share a UID; each file is given as (SOPInstanceUID, path)."""
        by_uid: dict[str, list[Path]] = defaultdict(list)
        for uid, path in files:
            if uid:
                by_uid[uid].append(path)
        alike: list[tuple[Path, ...]] = []
        clashing: set[Path] = set()
        for paths in by_uid.values():
            if len(paths) < 2:
                continue
            if len({_dataset_digest(path) for path in paths}) == 1:
                alike.append(tuple(sorted(paths)))
            else:
                clashing.update(paths)
        return cls(tuple(alike), frozenset(clashing))

    def select(self, files: Sequence[Path]) -> tuple[list[Path], dict[Path, list[Path]]]:
        """Choose one file of each group of copies.

        Parameters
        ----------
        files
            Files to anonymise.

        Returns
        -------
        files : list of Path
            Those to process: one of each group, and no conflicting ones.
        copies : dict of Path to list of Path
            The other files of the group, by the chosen one.
        """
        wanted = set(files)
        copies: dict[Path, list[Path]] = {}
        spared: set[Path] = set(self.conflicting)
        for group in self.identical:
            there = [path for path in group if path in wanted]
            if len(there) > 1:
                copies[there[0]] = there[1:]
                spared.update(there[1:])
        return [path for path in files if path not in spared], copies


def _dataset_digest(path: Path) -> str:
    """Hash a file's data set and transfer syntax.

    Preamble, the rest of the file meta information and what follows the pixel data are left out:
    they tell nothing of the instance (PS3.10 7.1).
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            stream, syntax, start, end = _bounds(file)
            digest.update(syntax.encode() + b"\0")
            stream.seek(start)
            while piece := stream.read(min(_CHUNK, end - start)):
                digest.update(piece)
                start += len(piece)
    except OSError:
        return f"unread {path}"
    return digest.hexdigest()


def _bounds(stream: BinaryIO) -> tuple[BinaryIO, str, int, int]:
    """Return the stream to read, the transfer syntax, and where the data set begins and ends."""
    try:
        return (stream, *_dataset_bounds(stream))
    except IrregularError:
        pass
    except HeldError:
        return stream, "", 0, stream.seek(0, 2)
    try:
        stream = regularise(stream)
        return (stream, *_dataset_bounds(stream))
    except HeldError:
        return stream, "", 0, stream.seek(0, 2)


def _dataset_bounds(stream: BinaryIO) -> tuple[str, int, int]:
    walker = ElementWalker(stream)
    stream.seek(0)
    if stream.read(_PREFIX)[-4:] != b"DICM":
        raise IrregularError
    at, syntax = _PREFIX, UID("")
    while at < walker.size:
        tag, _, value, length = walker.read_element(at, little=True, implicit=False)
        if tag >> 16 != 2:
            break
        if tag == _SYNTAX:
            stream.seek(value)
            syntax = UID(stream.read(length).rstrip(b"\0 ").decode("latin-1"))
        at = value + length
    if not syntax.is_transfer_syntax or syntax.is_deflated:
        return str(syntax), at, walker.size
    little, implicit = syntax.is_little_endian, syntax.is_implicit_VR
    end = check_complete(stream, little, implicit)
    span = find_pixel_span(stream, end, little, implicit, False, 0)
    return str(syntax), at, span.end if span is not None else end
