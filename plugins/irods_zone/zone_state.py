"""What all connections to a zone share."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .catalog import Catalog
from .logical_locking import LockTable


@dataclass(frozen=True)
class ZoneState:
    """A zone's identity, its catalog and its locks.

    Attributes
    ----------
    name : str
        Name of the zone.
    directory : Path
        Where catalog and vaults lie.
    host : str
        Address that the zone announces to clients for its resources.
    admin : str
        Name of the first administrator.
    partners : Mapping of str to tuple
        Host, port and shared key of each federated zone.
    catalog : Catalog
        The catalog.
    default_resource : str
        Resource of objects for which the client names none.
    trust : ssl.SSLContext or None
        The authorities of federated zones' certificates; None: connections to them are not
        encrypted.
    locks : LockTable
        Data objects that are being written.
    """

    name: str
    directory: Path
    host: str
    admin: str
    partners: Mapping[str, tuple[str, int, str]]
    catalog: Catalog
    default_resource: str = "demoResc"
    trust: ssl.SSLContext | None = None
    locks: LockTable = field(default_factory=LockTable)
