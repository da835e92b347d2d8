"""API handlers; importing this package registers all of them."""

from . import (
    access_control,
    administration,
    authentication,
    bulk_put,
    bundles,
    checksums,
    collections,
    data_objects,
    metadata,
    queries,
    registration,
    replicas,
    rsync,
    server_info,
    tickets,
    transfers,
)

__all__ = [
    "access_control", "administration", "authentication", "bulk_put", "bundles", "checksums",
    "collections", "data_objects", "metadata", "queries", "registration", "replicas", "rsync",
    "server_info", "tickets", "transfers",
]  # fmt: skip
