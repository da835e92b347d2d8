"""Removes old logs of Airflow's tasks."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

_LOG = re.compile(r".+\.log(\.\d+)?(\.log)?$")


def sweep_logs(folder: Path, keep: timedelta, now: float) -> int:
    """Remove log files that were last written longer ago than `keep`, and empty directories.

    Parameters
    ----------
    folder
        Airflow's `base_log_folder`. Symbolic links are not followed, other files not touched.
    keep
        How long a log is kept after its last line.
    now
        The time, in seconds since the epoch.

    Returns
    -------
    int
        How many files were removed.
    """
    removed = 0
    for directory, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(directory, name)
            # Another worker on the same volume may have removed it.
            with suppress(FileNotFoundError):
                old = path.lstat().st_mtime < now - keep.total_seconds()
                if _LOG.fullmatch(name) and old and not path.is_symlink():
                    path.unlink()
                    removed += 1
        if Path(directory) != folder:
            with suppress(OSError):  # not empty, or a link
                os.rmdir(directory)
    return removed
