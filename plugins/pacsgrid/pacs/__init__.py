"""DICOM in: one interface over DIMSE sources and drop folders."""

from __future__ import annotations

from pacsgrid.errors import ConfigError
from pacsgrid.model import SourceSettings
from pacsgrid.pacs.base import Source

__all__ = ["Source", "open_source"]


def open_source(settings: SourceSettings) -> Source:
    """Give the source the settings describe; nothing is connected yet."""
    if settings.kind == "dimse":
        from pacsgrid.pacs.dimse import DimseSource

        return DimseSource(settings)
    if settings.kind == "folder":
        from pacsgrid.pacs.folder import FolderSource

        return FolderSource(settings)
    raise ConfigError(f"source {settings.name}: kind must be 'dimse' or 'folder'")
