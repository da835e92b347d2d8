"""Clean Pixel Data (PS3.15 E.3.1): find burned-in text and blank it, keeping all other bytes."""

from __future__ import annotations

from .boxes import Box
from .text_detection import find_text

__all__ = ["Box", "find_text"]
