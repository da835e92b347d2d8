"""An embedded iRODS zone: a server that real iRODS clients can talk to."""

from .server import ZoneServer

__all__ = ["ZoneServer"]
