"""Result files that get their names together, once all of them are on disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ..disk import storing, sync_directories, sync_files
from ..errors import HeldError
from ..uids import inside


class AtomicBatch:
    """Takes files under temporary names beside their targets; `commit` gives them their own.

    A file on disk for each result costs a worker more than anything else it does; for all of a
    group at once the disk is asked once. What was not settled is removed at the end.
    """

    def __init__(self) -> None:
        self._waiting: dict[Path, BinaryIO] = {}

    @staticmethod
    def temporary_path(target: Path) -> Path:
        """Return the name that a file bears until it is settled."""
        return target.with_suffix(".part")

    def open(self, target: Path, root: Path) -> BinaryIO:
        """Open a file below `root` for writing; it stays open until settled or discarded.

        Raises
        ------
        HeldError
            ``duplicate-conflict``: another of the group has that name. ``not-uid``: it does not
            lie below `root`.
        """
        inside(root, target)
        if target in self._waiting:
            raise HeldError(
                "duplicate-conflict",
                "several files of this study bear the same SOPInstanceUID (0008,0018); keep the "
                "right one at the source",
            )
        partial = self.temporary_path(target)
        with storing(target.parent.parent):
            try:
                stream = open(partial, "wb")  # noqa: SIM115
            except FileNotFoundError:
                partial.parent.mkdir(parents=True, exist_ok=True)
                stream = open(partial, "wb")  # noqa: SIM115
        self._waiting[target] = stream
        return stream

    def discard(self, target: Path) -> None:
        """Remove a file that will not be wanted."""
        stream = self._waiting.pop(target, None)
        if stream is not None:
            self.temporary_path(target).unlink(missing_ok=True)
            with suppress(OSError):  # what it still has to write is not wanted
                stream.close()

    def commit(self) -> None:
        """Return when all files are on disk under their own names.

        Raises
        ------
        StorageError
            Some could not be written; none of the group is settled then.
        """
        if self._waiting:
            with storing(next(iter(self._waiting)).parent.parent):
                self._commit()

    def _commit(self) -> None:
        errors = sync_files([stream.fileno() for stream in self._waiting.values()])
        for error in errors.values():
            raise error
        for target, stream in self._waiting.items():
            os.replace(self.temporary_path(target), target)
            stream.close()
        folders = {target.parent for target in self._waiting}
        self._waiting.clear()
        sync_directories({*folders, *(folder.parent for folder in folders)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for target in list(self._waiting):
            self.discard(target)
