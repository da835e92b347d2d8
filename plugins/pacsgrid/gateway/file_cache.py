"""A cache on disk for instances that are read frame by frame.

Viewers request each frame by itself; the object is fetched from its zone once. A file gets its
name only after its checksum was verified. Its content is anonymised, as everything in the zones.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pacsgrid.errors import ZoneError
from pacsgrid.gateway.object_reader import ObjectReader, StoredInstance


class FileCache:
    """Files named by their checksums; the least recently used are removed first.

    Parameters
    ----------
    folder
        The cache's own directory.
    objects
        Fetches a file that is not cached.
    most
        Bytes to keep at most; the newest file stays in any case.
    """

    def __init__(self, folder: Path, objects: ObjectReader, most: int) -> None:
        self._folder = folder
        self._objects = objects
        self._most = most
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open(self, instance: StoredInstance) -> BinaryIO:
        """Return an instance's file, open for reading; errors as of `ObjectReader.read`."""
        path = self._folder / instance.sha256
        try:
            file: BinaryIO = path.open("rb")
        except FileNotFoundError:
            file = self._fetch(instance, path)
            self._shrink(path)
        with suppress(OSError):
            os.utime(path)
        return file

    def _fetch(self, instance: StoredInstance, path: Path) -> BinaryIO:
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as target:
                for piece in self._objects.stream(instance):
                    digest.update(piece)
                    target.write(piece)
            if digest.hexdigest() != instance.sha256:
                raise ZoneError(
                    f"instance {instance.sop}: the bytes differ from its checksum; verify the study"
                )
            file: BinaryIO = Path(name).open("rb")  # noqa: SIM115 - the caller closes it
            os.replace(name, path)
            return file
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _shrink(self, newest: Path) -> None:
        files = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process removed it
                state = path.stat()
                files.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._most:
                return
            if path != newest and not path.name.startswith("."):
                path.unlink(missing_ok=True)
                total -= size

    def keep_only(self, known: Callable[[Collection[str]], Collection[str]]) -> None:
        """Remove the files of objects that no zone holds any more.

        Parameters
        ----------
        known
            Returns those of some checksums that an object has.
        """
        names = [path.name for path in self._folder.iterdir() if not path.name.startswith(".")]
        for name in set(names) - set(known(names)):
            (self._folder / name).unlink(missing_ok=True)
