"""Imports every module that registers API handlers."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path


def load() -> None:
    """Register all handlers: those of the modules whose names begin with ``api_``."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("api_"):
            importlib.import_module(f"{__package__}.{module.name}")
