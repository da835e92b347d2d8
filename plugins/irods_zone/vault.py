"""Files in vaults: where they lie, and how to open them without following symbolic links.

Neither a file nor its directory may be a symbolic link. Otherwise somebody who can put a link into
a vault could have the server read or change what it points to.
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
    """Return where the file of a replica lies.

    It is named by numbers, so that no logical name can lead out of the vault.

    Parameters
    ----------
    vault : str
        The resource's vault.
    data_id, repl : int
        The replica.

    Returns
    -------
    str
        Path of the file.
    """
    return os.path.join(vault, f"{data_id // 256 % 256:02x}", f"{data_id}.{repl}")


def is_vault_path(path: str, vault: str, data_id: int, repl: int) -> bool:
    """Return whether a path is where a vault has a replica's file, not one registered in place.

    Parameters
    ----------
    path : str
        Path of the replica's file.
    vault : str
        The resource's vault.
    data_id, repl : int
        The replica.

    Returns
    -------
    bool
        Whether it is.
    """
    directory, name = os.path.split(path)
    return name == f"{data_id}.{repl}" and os.path.dirname(directory) == vault


@contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(os.path.dirname(path), _DIRECTORY_FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


def open_file(path: str, flags: int) -> int:
    """Open a file of a vault or one registered in place.

    Parameters
    ----------
    path : str
        Path of the file.
    flags : int
        Flags of open(2).

    Returns
    -------
    int
        File descriptor.

    Raises
    ------
    OSError
        It cannot be opened, or is behind a symbolic link.
    """
    with _directory(path) as directory:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(os.path.basename(path), flags, 0o600, dir_fd=directory)


def create_file(path: str) -> int:
    """Create or empty a vault file and open it to read and write."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    try:
        return open_file(path, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return open_file(path, flags)


def delete_files(paths: list[str]) -> None:
    """Delete vault files; missing ones are ignored."""
    for path in paths:
        try:
            with _directory(path) as directory:
                os.unlink(os.path.basename(path), dir_fd=directory)
        except FileNotFoundError:
            pass


def checksum_fd(fd: int, scheme: str = "sha2") -> str:
    """Compute the checksum of an open file.

    Parameters
    ----------
    fd : int
        File descriptor.
    scheme : str
        ``sha2`` or ``md5``.

    Returns
    -------
    str
        The checksum as iRODS writes it.
    """
    digest = hashlib.md5() if scheme == "md5" else hashlib.sha256()
    at = 0
    while block := os.pread(fd, _BLOCK, at):
        digest.update(block)
        at += len(block)
    if scheme == "md5":
        return digest.hexdigest()
    return "sha2:" + base64.b64encode(digest.digest()).decode()


def checksum_file(path: str, scheme: str = "sha2") -> str:
    """Compute the checksum of a vault file.

    Parameters
    ----------
    path : str
        Path of the file.
    scheme : str
        ``sha2`` or ``md5``.

    Returns
    -------
    str
        The checksum as iRODS writes it.

    Raises
    ------
    IrodsError
        UNIX_FILE_OPEN_ERR: it cannot be opened.
    """
    try:
        fd = open_file(path, os.O_RDONLY)
    except OSError as e:
        raise IrodsError(ErrorCode.UNIX_FILE_OPEN_ERR - (e.errno or 0), path) from None
    try:
        return checksum_fd(fd, scheme)
    finally:
        os.close(fd)


def checksum_scheme(checksum: str) -> str:
    """Return the scheme of a checksum as iRODS writes it; ``sha2`` for an empty one."""
    return "md5" if checksum and not checksum.startswith("sha2:") else "sha2"


def verify_expected(expected: str, found: str) -> None:
    """Compare checksums.

    Parameters
    ----------
    expected : str
        What the client sent; if empty nothing is compared.
    found : str
        What was computed.

    Raises
    ------
    IrodsError
        USER_CHKSUM_MISMATCH: they differ.
    """
    if expected and expected != found:
        raise IrodsError(ErrorCode.USER_CHKSUM_MISMATCH, "the checksum differs from the client's")


def copy_bytes(source: int, target: int) -> int:
    """Copy an open file from its start into another.

    Parameters
    ----------
    source, target : int
        File descriptors.

    Returns
    -------
    int
        Number of bytes.
    """
    at = 0
    while block := os.pread(source, _BLOCK, at):
        view = memoryview(block)
        while view:
            done = os.pwrite(target, view, at)
            view, at = view[done:], at + done
    return at


def sync_file(fd: int) -> None:
    """Write a file's content to the disk; a journaling file system then keeps its name too."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(fd)
