"""DICOM in: one interface over DIMSE and DICOMweb sources, drop folders and the storage SCP."""

from __future__ import annotations

from pacsgrid.config import SourceSettings
from pacsgrid.errors import ConfigError
from pacsgrid.pacs.base import Source

__all__ = ["Source", "open_source"]

_RETRIEVE_METHODS = ("get", "move", "web")


def open_source(settings: SourceSettings) -> Source:
    """Return the source that the settings describe; nothing is connected yet.

    Raises
    ------
    ConfigError
        The settings do not fit together; names the source and the setting.
    """
    if settings.kind == "folder":
        from pacsgrid.pacs.folder_source import FolderSource

        return FolderSource(settings)
    if settings.kind == "received":
        from pacsgrid.pacs.received_source import ReceivedSource

        return ReceivedSource(settings)
    if settings.kind not in ("dimse", "dicomweb"):
        raise ConfigError(
            f"source {settings.name}: kind must be 'dimse', 'dicomweb', 'folder' or 'received'"
        )
    methods = list(dict.fromkeys((settings.retrieve, *settings.fall_back)))
    sources = [_open_pacs(settings.replace(retrieve=method)) for method in methods]
    from pacsgrid.pacs.fallback_source import FallbackSource
    from pacsgrid.pacs.source_limits import LimitedSource

    source = sources[0]
    if len(sources) > 1:
        source = FallbackSource(settings.name, dict(zip(methods, sources, strict=True)))
    return LimitedSource(settings, source)


def _open_pacs(settings: SourceSettings) -> Source:
    if settings.retrieve not in _RETRIEVE_METHODS:
        raise ConfigError(
            f"source {settings.name}: retrieve and fall_back must be among 'get', 'move', 'web'"
        )
    if settings.retrieve == "web":
        from pacsgrid.pacs.dicomweb_source import DicomWebSource

        return DicomWebSource(settings)
    from pacsgrid.pacs.dimse_source import DimseSource

    return DimseSource(settings)
