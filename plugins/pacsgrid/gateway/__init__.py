"""DICOM out of the grid: what researchers may read in iRODS, asked for as from a PACS."""

from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.find import Answer, Level
from pacsgrid.gateway.objects import Instance, Objects

__all__ = ["Answer", "Gateway", "Instance", "Level", "Objects"]
