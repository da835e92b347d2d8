"""iRODS zones: deposit, replicas, proofs and repair, through python-irodsclient."""

from pacsgrid.grid.deposit import DepositReport, deposit, put_text
from pacsgrid.grid.layout import ensure_project, object_path, study_collection
from pacsgrid.grid.partner import copy_to_partner
from pacsgrid.grid.replicas import repair, replicate_home, verify
from pacsgrid.grid.zone import Zone

__all__ = [
    "DepositReport",
    "Zone",
    "copy_to_partner",
    "deposit",
    "ensure_project",
    "object_path",
    "put_text",
    "repair",
    "replicate_home",
    "study_collection",
    "verify",
]
