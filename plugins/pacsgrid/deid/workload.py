"""Estimate how long files keep one core, to split work evenly between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# Seconds for a header, for a byte that is copied, hashed and compared, and for a pixel that is
# searched for text. Measured on 512 KiB CT slices and on ultrasound of 800 x 600 pixels.
SECONDS_PER_HEADER, SECONDS_PER_BYTE, SECONDS_PER_PIXEL = 2e-3, 2.5e-9, 3e-6
# Seconds of work in a part. A smaller part costs more to send to a process than to do, or, without
# processes, to sync to disk; a larger one shows progress too seldom, and is lost with a killed run.
_MIN_SECONDS, _MIN_SECONDS_SINGLE, _MAX_SECONDS, _MAX_FILES = 0.03, 0.5, 10.0, 256
# Parts for each process, so that none waits long for the last part.
_PARTS_PER_PROCESS = 4


def estimate_seconds(size: int, pixels: int) -> float:
    """Estimate the seconds that a file takes.

    Parameters
    ----------
    size
        Its length in bytes.
    pixels
        How many of its pixels are searched for text.

    Returns
    -------
    float
        Seconds on one core.
    """
    return SECONDS_PER_HEADER + SECONDS_PER_BYTE * size + SECONDS_PER_PIXEL * pixels


def split_evenly(
    files: Sequence[Path], seconds: Mapping[Path, float], processes: int
) -> list[list[Path]]:
    """Split files, in their order, into parts that take about the same time.

    Parameters
    ----------
    files
        The files. A slow one becomes a part by itself.
    seconds
        Estimate for each; a file without one counts as a header alone.
    processes
        How many will share the parts.

    Returns
    -------
    list of list of Path
    """
    total = sum(seconds.get(path, SECONDS_PER_HEADER) for path in files)
    least = _MIN_SECONDS if processes > 1 else _MIN_SECONDS_SINGLE
    wanted = min(max(least, total / (processes * _PARTS_PER_PROCESS)), _MAX_SECONDS)
    made: list[list[Path]] = []
    before, piece = 0.0, -1
    for path in files:
        takes = seconds.get(path, SECONDS_PER_HEADER)
        # A file belongs to the part in which the middle of its time falls.
        falls = int((before + takes / 2) / wanted)
        before += takes
        if falls != piece or len(made[-1]) >= _MAX_FILES:
            made.append([])
            piece = falls
        made[-1].append(path)
    return made
