"""How long files keep one core, roughly: to part work evenly, not to promise a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# Seconds for a header, for a byte that is copied, hashed and compared, for a pixel that is
# searched for text. (Measured on 512 KiB slices and on ultrasound of 800 x 600.)
SECONDS_PER_HEADER, SECONDS_PER_BYTE, SECONDS_PER_PIXEL = 2e-3, 2.5e-9, 3e-6
# Below the one a part costs more to send than to do, or to bring to disk where nothing is sent;
# above the other progress is seen too seldom and a killed run has too much to do again.
_MIN_SECONDS, _MIN_SECONDS_SINGLE, _MAX_SECONDS, _MAX_FILES = 0.03, 0.5, 10.0, 256
# Parts for each process, so that none waits long for the last one.
_PARTS_PER_PROCESS = 4


def estimate_seconds(size: int, pixels: int) -> float:
    """Return the seconds that a file of `size` bytes takes, `pixels` of it searched for text."""
    return SECONDS_PER_HEADER + SECONDS_PER_BYTE * size + SECONDS_PER_PIXEL * pixels


def split_evenly(
    files: Sequence[Path], efforts: Mapping[Path, float], processes: int
) -> list[list[Path]]:
    """Part files, in their order, into pieces of about the same effort.

    A slow file is a piece by itself. Of files that are not in `efforts` only the header is
    thought to take time.
    """
    total = sum(efforts.get(path, SECONDS_PER_HEADER) for path in files)
    least = _MIN_SECONDS if processes > 1 else _MIN_SECONDS_SINGLE
    wanted = min(max(least, total / (processes * _PARTS_PER_PROCESS)), _MAX_SECONDS)
    made: list[list[Path]] = []
    before, piece = 0.0, -1
    for path in files:
        takes = efforts.get(path, SECONDS_PER_HEADER)
        # Each file belongs where the middle of its time falls.
        falls = int((before + takes / 2) / wanted)
        before += takes
        if falls != piece or len(made[-1]) >= _MAX_FILES:
            made.append([])
            piece = falls
        made[-1].append(path)
    return made
