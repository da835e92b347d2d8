"""Clean Pixel Data (PS3.15 E.3.1): burned-in text found and blanked, the rest of the bytes kept."""

from __future__ import annotations

from .boxes import Box
from .text_detection import find_text

__all__ = ["Box", "find_text"]
