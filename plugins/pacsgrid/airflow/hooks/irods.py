"""An iRODS zone, as an Airflow connection of type ``irods``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacsgrid.airflow.hooks.base import PacsgridHook

if TYPE_CHECKING:
    from pacsgrid.grid import Zone


class IrodsHook(PacsgridHook):
    """A zone, reached with the connection's account.

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
        """Return the zone; its session is opened at first use. Close it, or use it in `with`."""
        from pacsgrid.config import zone_from_connection
        from pacsgrid.grid import Zone

        zone = self.get_connection(self._conn_id).schema or ""
        return Zone(zone_from_connection(zone, self._conn_id, self.settings()))

    def ask(self) -> str:
        """Ask the zone's catalog something small."""
        with self.get_conn() as zone:
            zone.ping()
            where = zone.settings
            return f"zone {where.name} at {where.host}:{where.port} lets {where.user} in"
