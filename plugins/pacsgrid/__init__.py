"""pacsgrid: medical images from PACS into a federated iRODS grid, anonymised and proven."""

__version__ = "0.1.0"
