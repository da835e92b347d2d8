"""DICOM out of the grid: what researchers may read in iRODS, asked for as from a PACS."""

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.object_reader import ObjectReader, StoredInstance
from pacsgrid.gateway.queries import Match, QueryLevel

__all__ = ["Gateway", "Match", "ObjectReader", "QueryLevel", "StoredInstance"]
