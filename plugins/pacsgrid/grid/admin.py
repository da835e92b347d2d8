"""Setting up a zone's resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from irods.exception import ResourceDoesNotExist

from pacsgrid.grid.zone import Zone, translated_errors


def prepare_zone(zone: Zone, resources: Mapping[str, Sequence[str]], vaults: str) -> None:
    """Make replication resources with their leaves where they are missing.

    Parameters
    ----------
    resources
        The leaves (unixfilesystem) of each root (replication).
    vaults
        The directory on the zone's server below which each leaf gets its vault.
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
