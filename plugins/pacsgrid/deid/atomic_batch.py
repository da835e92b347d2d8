"""Write a batch of files that get their names together, once all of them are on disk."""

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
    """Files under temporary names beside their targets; `commit` syncs and renames them.

    There is one sync per batch: an fsync per file would dominate a worker's time. Used as a context
    manager, it removes at the end the files that were not committed.
    """

    def __init__(self) -> None:
        self._pending: dict[Path, BinaryIO] = {}

    @staticmethod
    def temporary_path(target: Path) -> Path:
        """Return the path of a file until it is committed."""
        return target.with_suffix(".part")

    def open(self, target: Path, root: Path) -> BinaryIO:
        """Open a file for writing. It stays open until it is committed or discarded.

        Parameters
        ----------
        target
            Path that the file gets when it is committed.
        root
            Folder that `target` must lie below.

        Returns
        -------
        BinaryIO
            Do not close it.

        Raises
        ------
        HeldError
            ``duplicate-conflict``: another file of the batch has this target. ``not-uid``: the
            target does not lie below `root`.
        StorageError
            The file cannot be written.
        """
        inside(root, target)
        if target in self._pending:
            raise HeldError(
                "duplicate-conflict",
                "several files of this study have the same SOPInstanceUID (0008,0018); keep the "
                "right one at the source",
            )
        partial = self.temporary_path(target)
        with storing(target.parent.parent):
            try:
                stream = open(partial, "wb")  # noqa: SIM115
            except FileNotFoundError:
                partial.parent.mkdir(parents=True, exist_ok=True)
                stream = open(partial, "wb")  # noqa: SIM115
        self._pending[target] = stream
        return stream

    def discard(self, target: Path) -> None:
        """Close and remove a file of the batch; do nothing when there is no such file."""
        stream = self._pending.pop(target, None)
        if stream is not None:
            self.temporary_path(target).unlink(missing_ok=True)
            with suppress(OSError):  # flushing the rest may fail: it is not needed
                stream.close()

    def commit(self) -> None:
        """Sync all files of the batch, and rename them to their targets.

        Raises
        ------
        StorageError
            A file could not be written; none of the batch is renamed then.
        """
        if self._pending:
            with storing(next(iter(self._pending)).parent.parent):
                self._commit()

    def _commit(self) -> None:
        errors = sync_files([stream.fileno() for stream in self._pending.values()])
        for error in errors.values():
            raise error
        for target, stream in self._pending.items():
            os.replace(self.temporary_path(target), target)
            stream.close()
        folders = {target.parent for target in self._pending}
        self._pending.clear()
        sync_directories({*folders, *(folder.parent for folder in folders)})

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the files that were not committed."""
        for target in list(self._pending):
            self.discard(target)
