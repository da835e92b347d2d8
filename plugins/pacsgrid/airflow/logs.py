"""Airflow's task logs: those that nobody needs any more are removed."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

_LOG = re.compile(r".+\.log(\.\d+)?(\.log)?$")


def sweep_logs(folder: Path, keep: timedelta, now: float) -> int:
    """Remove log files last written longer ago than `keep`, and directories left empty.

    Parameters
    ----------
    folder
        Airflow's `base_log_folder`; links in it are not followed, other files left alone.
    keep
        How long a log stays after its last line.
    now
        Seconds since the epoch.

    Returns
    -------
    int
        How many files were removed.
    """
    removed = 0
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            # Another worker on the same volume may have been first.
            with suppress(FileNotFoundError):
                old = path.lstat().st_mtime < now - keep.total_seconds()
                if _LOG.fullmatch(name) and old and not path.is_symlink():
                    path.unlink()
                    removed += 1
        if Path(place) != folder:
            with suppress(OSError):  # not empty, or a link
                os.rmdir(place)
    return removed
