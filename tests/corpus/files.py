"""The files that pydicom and pydicom-data bring."""

from __future__ import annotations

from pathlib import Path

import data_store
import pydicom

_OTHERS = frozenset({".py", ".pyc", ".md", ".txt", ".json"})


def real_files() -> list[Path]:
    """List them, the broken ones included."""
    roots = [Path(module.__file__).parent for module in (pydicom, data_store)]
    roots[0] /= "data"
    return [
        path
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix not in _OTHERS and "__pycache__" not in path.parts
    ]
