"""Set up a zone's replication resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from irods.exception import ResourceDoesNotExist

from pacsgrid.grid.zone import Zone, translated_errors


def prepare_zone(zone: Zone, resources: Mapping[str, Sequence[str]], vaults: str) -> None:
    """Create the replication resources and storage resources that a zone lacks.

    Parameters
    ----------
    zone
        The zone, reached as an administrator (rodsadmin).
    resources
        The storage resources (unixfilesystem) below each root resource (replication).
    vaults
        The directory on the zone's server below which each storage resource gets its vault.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused, or does not answer.
    """
    manager = zone.session.resources

    def exists(name: str) -> bool:
        try:
            manager.get(name)
        except ResourceDoesNotExist:
            return False
        return True

    with translated_errors(zone.settings.name):
        for root, leaves in resources.items():
            if not exists(root):
                manager.create(root, "replication")
            for leaf in leaves:
                if not exists(leaf):
                    manager.create(
                        leaf, "unixfilesystem", host=zone.settings.host, path=f"{vaults}/{leaf}"
                    )
                    manager.add_child(root, leaf)
