"""Files of the vaults: where they lie, and opening them so that no link leads elsewhere.

Neither a file nor the folder it lies in may be a symbolic link: whoever can put one into a vault
does not get the server to read or change what it points to.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .error_codes import ErrorCode
from .errors import IrodsError

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 20


def vault_file(vault: str, data_id: int, repl: int) -> str:
    """Where a replica lies. Built from numbers alone, so no name can lead out of the vault."""
    return os.path.join(vault, f"{data_id // 256 % 256:02x}", f"{data_id}.{repl}")


def is_vault_path(path: str, vault: str, data_id: int, repl: int) -> bool:
    """Whether a path is a replica's place in a vault, and not a file registered elsewhere."""
    folder, name = os.path.split(path)
    return name == f"{data_id}.{repl}" and os.path.dirname(folder) == vault


@contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(os.path.dirname(path), _DIRECTORY_FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


def open_file(path: str, flags: int) -> int:
    """Open a file of a vault, or one that was registered in place; raises `OSError`."""
    with _directory(path) as folder:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(os.path.basename(path), flags, 0o600, dir_fd=folder)


def create_file(path: str) -> int:
    """Create a vault file for reading and writing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    try:
        return open_file(path, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return open_file(path, flags)


def delete_files(paths: list[str]) -> None:
    """Delete vault files; those that are gone are no error."""
    for path in paths:
        try:
            with _directory(path) as folder:
                os.unlink(os.path.basename(path), dir_fd=folder)
        except FileNotFoundError:
            pass


def checksum_fd(fd: int, kind: str = "sha2") -> str:
    """Checksum of an open file from its start, as iRODS writes it."""
    digest = hashlib.md5() if kind == "md5" else hashlib.sha256()
    at = 0
    while block := os.pread(fd, _BLOCK, at):
        digest.update(block)
        at += len(block)
    if kind == "md5":
        return digest.hexdigest()
    return "sha2:" + base64.b64encode(digest.digest()).decode()


def checksum_file(path: str, kind: str = "sha2") -> str:
    """Checksum of a vault file."""
    try:
        fd = open_file(path, os.O_RDONLY)
    except OSError as e:
        raise IrodsError(ErrorCode.UNIX_FILE_OPEN_ERR - (e.errno or 0), path) from None
    try:
        return checksum_fd(fd, kind)
    finally:
        os.close(fd)


def checksum_scheme(checksum: str) -> str:
    """The scheme of a checksum as iRODS writes it; SHA-256 if there is none yet."""
    return "md5" if checksum and not checksum.startswith("sha2:") else "sha2"


def verify_expected(expected: str, found: str) -> None:
    """Compare a client's checksum with that of what was stored, in the client's scheme."""
    if expected and expected != found:
        raise IrodsError(ErrorCode.USER_CHKSUM_MISMATCH, "checksum differs")


def copy_bytes(source: int, target: int) -> int:
    """Copy an open file from its start into another; how many bytes there were."""
    at = 0
    while block := os.pread(source, _BLOCK, at):
        view = memoryview(block)
        while view:
            done = os.pwrite(target, view, at)
            view, at = view[done:], at + done
    return at


def sync_file(fd: int) -> None:
    """What was written reaches the disk, and on a journaling file system a new file's name too."""
    os.fdatasync(fd)
