"""An iRODS zone for tests: a server in one Python process that real iRODS clients can talk to."""

from .server import ZoneServer

__version__ = "1.0.0"
__all__ = ["ZoneServer", "__version__"]
