"""iRODS zones: deposit, replicas, proofs and repair, through python-irodsclient."""

from pacsgrid.grid.deposit import (
    CONNECTIONS,
    DepositReport,
    add_avus,
    deposit,
    put_text,
    remove_object,
    set_avu,
)
from pacsgrid.grid.fetch import get_head, get_text
from pacsgrid.grid.layout import (
    ensure_collection,
    ensure_project,
    object_path,
    remove_collection,
    study_collection,
)
from pacsgrid.grid.mend import mend
from pacsgrid.grid.partner import copy_to_partner
from pacsgrid.grid.repair import Repair, repair
from pacsgrid.grid.replicas import replicate_home, verify
from pacsgrid.grid.restore import put_back, restore
from pacsgrid.grid.zone import Zone

__all__ = [
    "CONNECTIONS",
    "DepositReport",
    "Repair",
    "Zone",
    "add_avus",
    "copy_to_partner",
    "deposit",
    "ensure_collection",
    "ensure_project",
    "get_head",
    "get_text",
    "mend",
    "object_path",
    "put_back",
    "put_text",
    "remove_collection",
    "remove_object",
    "repair",
    "replicate_home",
    "restore",
    "set_avu",
    "study_collection",
    "verify",
]
