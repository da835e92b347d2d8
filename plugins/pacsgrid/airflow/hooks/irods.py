"""The hook for iRODS zones, connections of type ``irods``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsgrid.airflow.hooks.base import PacsgridHook

if TYPE_CHECKING:
    from pacsgrid.grid import Zone


class IrodsHook(PacsgridHook):
    """Opens an iRODS zone with the connection's account.

    Parameters
    ----------
    irods_conn_id
        A connection of type ``irods``; its schema is the zone's name.
    """

    conn_name_attr = "irods_conn_id"
    default_conn_name = "irods_default"
    conn_type = "irods"
    hook_name = "iRODS zone"

    def __init__(self, irods_conn_id: str = default_conn_name) -> None:
        super().__init__(irods_conn_id)

    def get_conn(self) -> Zone:
        """Return the zone, which connects at first use; close it, or use it in a ``with`` block."""
        from pacsgrid.config import zone_from_connection
        from pacsgrid.grid import Zone

        zone = self.get_connection(self._conn_id).schema or ""
        return Zone(zone_from_connection(zone, self._conn_id, self.settings()))

    def check(self) -> str:
        """Send the zone's catalog a small query."""
        with self.get_conn() as zone:
            zone.ping()
            where = zone.settings
            return f"zone {where.name} at {where.host}:{where.port} lets {where.user} in"
