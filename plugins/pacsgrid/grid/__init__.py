"""iRODS zones: deposit, replicas, proofs and repair, through python-irodsclient."""

from pacsgrid.grid.deposit import (
    CONNECTIONS,
    DepositReport,
    add_avus,
    deposit,
    put_document,
    remove_object,
    set_avu,
)
from pacsgrid.grid.document_repair import repair_documents
from pacsgrid.grid.fetch import get_document, get_head
from pacsgrid.grid.layout import (
    ensure_collection,
    ensure_project,
    object_path,
    remove_collection,
    study_collection,
)
from pacsgrid.grid.partner import copy_to_partner
from pacsgrid.grid.repair import RepairReport, repair
from pacsgrid.grid.replicas import replicate_within_zone, verify
from pacsgrid.grid.restore import replace_objects, restore_objects
from pacsgrid.grid.zone import Zone

__all__ = [
    "CONNECTIONS",
    "DepositReport",
    "RepairReport",
    "Zone",
    "add_avus",
    "copy_to_partner",
    "deposit",
    "ensure_collection",
    "ensure_project",
    "get_document",
    "get_head",
    "object_path",
    "put_document",
    "remove_collection",
    "remove_object",
    "repair",
    "repair_documents",
    "replace_objects",
    "replicate_within_zone",
    "restore_objects",
    "set_avu",
    "study_collection",
    "verify",
]
