"""The hook for services that reserve DOIs, connections of type ``datacite``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsgrid.airflow.hooks.base import PacsgridHook

if TYPE_CHECKING:
    from pacsgrid.pipeline.doi import DoiService


class DataCiteHook(PacsgridHook):
    """Reserves DOIs at a service that answers as DataCite's REST API does.

    Parameters
    ----------
    datacite_conn_id
        A connection of type ``datacite``.
    """

    conn_name_attr = "datacite_conn_id"
    default_conn_name = "datacite_default"
    conn_type = "datacite"
    hook_name = "DataCite"

    def __init__(self, datacite_conn_id: str = default_conn_name) -> None:
        super().__init__(datacite_conn_id)

    def get_conn(self) -> DoiService:
        """Return the service."""
        from pacsgrid.pipeline.doi import service_from_settings

        return service_from_settings(self._conn_id, self.settings())

    def check(self) -> str:
        """Ask the service whether it is up; this does not check the account."""
        service = self.get_conn()
        service.check()
        return f"{service.url} answers"
