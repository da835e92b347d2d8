"""The hook for PACS over DICOMweb, connections of type ``dicomweb``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsgrid.airflow.hooks.source import SourceHook

if TYPE_CHECKING:
    from pacsgrid.config import SourceSettings


class DicomWebHook(SourceHook):
    """Finds and retrieves studies with QIDO-RS and WADO-RS (PS3.18 sections 10.4 and 10.6).

    Parameters
    ----------
    dicomweb_conn_id
        A connection of type ``dicomweb``.
    """

    conn_name_attr = "dicomweb_conn_id"
    default_conn_name = "dicomweb_default"
    conn_type = "dicomweb"
    hook_name = "DICOMweb"
    kind = "dicomweb"

    def __init__(self, dicomweb_conn_id: str = default_conn_name) -> None:
        super().__init__(dicomweb_conn_id)

    def _describe(self, settings: SourceSettings) -> str:
        return f"{settings.url} answers QIDO-RS"
