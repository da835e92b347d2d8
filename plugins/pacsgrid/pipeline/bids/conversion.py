"""Convert a series of DICOM files to NIfTI with dcm2niix."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pacsgrid.errors import ConfigError

# A series that takes longer is given up.
MOST_SECONDS = 3600
_HEADER = 348  # bytes of a NIfTI-1 header
# Its fields that hold text: data_type, db_name, descrip, aux_file, intent_name.
_TEXTS = ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16))


@dataclass(frozen=True)
class Image:
    """An image that dcm2niix wrote.

    Attributes
    ----------
    path
        The file, compressed.
    mark
        What dcm2niix added to the name, such as ``e2`` for the second echo or ``ph`` for phase.
    dimensions
        How many dimensions it has.
    texts
        The texts in its header.
    sidecar
        What dcm2niix says of the acquisition.
    """

    path: Path
    mark: str
    dimensions: int
    texts: tuple[str, ...]
    sidecar: dict[str, Any]

    def beside(self, suffix: str) -> Path | None:
        """Return the file with another suffix, such as ``.bval``, if there is one."""
        path = self.path.with_name(self.path.name.removesuffix(".nii.gz") + suffix)
        return path if path.exists() else None


def converter() -> Path:
    """Return the path of dcm2niix.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        from dcm2niix import bin as program
    except ImportError:
        program = shutil.which("dcm2niix")
    if not program:
        raise ConfigError("dcm2niix is not installed: pip install 'pacsgrid[airflow]'")
    return Path(program)


@lru_cache(maxsize=1)
def converter_version() -> str:
    """Return the version of dcm2niix, such as ``v1.0.20260724``."""
    told = subprocess.run([converter(), "-v"], capture_output=True, text=True, check=False)
    words = [word for word in told.stdout.split() if word.startswith("v1.")]
    return words[0] if words else "unknown"


def convert(files: Sequence[Path], into: Path) -> list[Image]:
    """Convert the files of a series.

    Parameters
    ----------
    files
        The files.
    into
        A folder for the images; what is in it is removed.

    Returns
    -------
    list of Image
        The images by name; none for a series that holds none, or that takes too long.
    """
    shutil.rmtree(into, ignore_errors=True)
    source, out = into / "in", into / "out"
    for folder in (source, out):
        folder.mkdir(parents=True, mode=0o700)
    for number, path in enumerate(files):
        (source / f"{number:06}.dcm").symlink_to(path.resolve())
    # -ba y leaves out who and when; -z i compresses without a program of its own.
    options = ["-f", "x", "-z", "i", "-b", "y", "-ba", "y", "-w", "1", "-o", str(out)]
    try:
        # Its exit code is not 0 for a folder without images, too. Its output may quote headers.
        subprocess.run(
            [converter(), *options, str(source)],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return []
    images = []
    for path in sorted(out.glob("*.nii.gz")):
        head = _head(path)
        sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        if head is None or not sidecar.exists():
            continue
        (dimensions,) = struct.unpack_from("<h", head, 40)
        texts = tuple(head[at : at + size].split(b"\0")[0].decode("latin-1") for at, size in _TEXTS)
        mark = path.name.removesuffix(".nii.gz").removeprefix("x").strip("_")
        told = json.loads(sidecar.read_text("utf-8", "replace"))
        images.append(Image(path, mark, dimensions, texts, told))
    return images


def _head(path: Path) -> bytes | None:
    with gzip.open(path) as stream:
        head = stream.read(_HEADER)
    return head if len(head) == _HEADER and head[344:347] in (b"n+1", b"ni1") else None
