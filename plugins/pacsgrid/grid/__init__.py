"""iRODS zones: deposit, replicas, verification and repair, through python-irodsclient."""

from pacsgrid.grid.avus import set_avu, set_avus
from pacsgrid.grid.deposit import DepositReport, deposit
from pacsgrid.grid.document_repair import repair_documents
from pacsgrid.grid.documents import get_document, get_head, put_document, put_document_file
from pacsgrid.grid.layout import (
    collection_of_study,
    ensure_collection,
    ensure_project,
    object_path,
    study_collection,
)
from pacsgrid.grid.partner import copy_to_partner
from pacsgrid.grid.remove import remove_collection, remove_object, remove_version
from pacsgrid.grid.repair import RepairReport, repair
from pacsgrid.grid.replicas import replicate_within_zone, verify
from pacsgrid.grid.restore import replace_objects, restore_objects
from pacsgrid.grid.zone import CONNECTIONS, Zone

__all__ = [
    "CONNECTIONS",
    "DepositReport",
    "RepairReport",
    "Zone",
    "collection_of_study",
    "copy_to_partner",
    "deposit",
    "ensure_collection",
    "ensure_project",
    "get_document",
    "get_head",
    "object_path",
    "put_document",
    "put_document_file",
    "remove_collection",
    "remove_object",
    "remove_version",
    "repair",
    "repair_documents",
    "replace_objects",
    "replicate_within_zone",
    "restore_objects",
    "set_avu",
    "set_avus",
    "study_collection",
    "verify",
]
