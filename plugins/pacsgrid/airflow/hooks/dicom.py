"""The hook for PACS over DIMSE, connections of type ``dicom``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsgrid.airflow.hooks.source import SourceHook

if TYPE_CHECKING:
    from pacsgrid.config import SourceSettings


class DicomHook(SourceHook):
    """Finds and retrieves studies with C-FIND and C-GET or C-MOVE (PS3.4 annex C).

    Parameters
    ----------
    dicom_conn_id
        A connection of type ``dicom``.
    """

    conn_name_attr = "dicom_conn_id"
    default_conn_name = "dicom_default"
    conn_type = "dicom"
    hook_name = "DICOM"
    kind = "dimse"

    def __init__(self, dicom_conn_id: str = default_conn_name) -> None:
        super().__init__(dicom_conn_id)

    def _describe(self, settings: SourceSettings) -> str:
        return f"{settings.ae_title} at {settings.host}:{settings.port} answers C-ECHO"
