"""DICOM in: one interface over DIMSE and DICOMweb sources, drop folders and the receiver."""

from __future__ import annotations

from pacsgrid.config import SourceSettings
from pacsgrid.errors import ConfigError
from pacsgrid.pacs.base import Source

__all__ = ["Source", "open_source"]

_WAYS = ("get", "move", "web")


def open_source(settings: SourceSettings) -> Source:
    """Give the source the settings describe; nothing is connected yet.

    Raises
    ------
    ConfigError
        The settings do not fit together; names the source and the setting.
    """
    if settings.kind == "folder":
        from pacsgrid.pacs.folder import FolderSource

        return FolderSource(settings)
    if settings.kind == "received":
        from pacsgrid.pacs.received import ReceivedSource

        return ReceivedSource(settings)
    if settings.kind not in ("dimse", "dicomweb"):
        raise ConfigError(
            f"source {settings.name}: kind must be 'dimse', 'dicomweb', 'folder' or 'received'"
        )
    ways = list(dict.fromkeys((settings.retrieve, *settings.fall_back)))
    sources = [_open_way(settings.replace(retrieve=way)) for way in ways]
    from pacsgrid.pacs.fallback import FallbackSource
    from pacsgrid.pacs.guard import GuardedSource

    source = sources[0]
    if len(sources) > 1:
        source = FallbackSource(settings.name, dict(zip(ways, sources, strict=True)))
    return GuardedSource(settings, source)


def _open_way(settings: SourceSettings) -> Source:
    if settings.retrieve not in _WAYS:
        raise ConfigError(
            f"source {settings.name}: retrieve and fall_back must be among 'get', 'move', 'web'"
        )
    if settings.retrieve == "web":
        from pacsgrid.pacs.dicomweb import WebSource

        return WebSource(settings)
    from pacsgrid.pacs.dimse import DimseSource

    return DimseSource(settings)
