"""The DICOM gateway: researchers query and retrieve what they may read in iRODS, as from a PACS."""

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.object_reader import ObjectReader, StoredInstance
from pacsgrid.gateway.queries import Match, QueryLevel

__all__ = ["Gateway", "Match", "ObjectReader", "QueryLevel", "StoredInstance"]
