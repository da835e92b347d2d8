"""What dicom3tools' dciodvfy says of a file, and what it did not say before."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

DCIODVFY = shutil.which("dciodvfy")


def errors(path: Path) -> Counter[str]:
    """Count the errors of a file by what they complain of, without the values they quote."""
    done = subprocess.run(
        [str(DCIODVFY), str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    found: Counter[str] = Counter()
    for line in (done.stderr + done.stdout).splitlines():
        if line.startswith("Error"):
            line = re.sub(r"(ReferencedSOPInstanceUID) \S+", r"\1", line)
            found[re.sub(r"<[^>]*>|\d+(?:\.\d+)+|[\[(]\d+[\])]|\"[^\"]*\"|'[^']*'", "", line)] += 1
    return found


def new_errors(source: Path, result: Path) -> list[str]:
    """Return the errors of a result that its source did not have.

    A source that dciodvfy cannot read (deflated ones among them) has no errors to compare with.
    """
    before = errors(source)
    if any("read failed" in error for error in before):
        return []
    return sorted(errors(result).keys() - before.keys())
