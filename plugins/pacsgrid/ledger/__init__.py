"""The ledger: every study's state, every proof, the audit trail and the sealed vault."""

from pacsgrid.ledger.access import note_access
from pacsgrid.ledger.cohorts import Cohorts
from pacsgrid.ledger.decision import note_decision
from pacsgrid.ledger.duties import DEPOSITED, Absence, Duties, Duty
from pacsgrid.ledger.ledger import WAY, Ledger
from pacsgrid.ledger.migrate import migrate
from pacsgrid.ledger.overview import Overview
from pacsgrid.ledger.patient import Patients
from pacsgrid.ledger.roles import owns_its_trail, prepare
from pacsgrid.ledger.rows import AuditRow, HeldRow, InstanceRow, StudyRow
from pacsgrid.ledger.selection import forget_selections, keep_selection, open_selection
from pacsgrid.ledger.shelf import Shelf
from pacsgrid.ledger.vault import Vault

__all__ = [
    "DEPOSITED",
    "WAY",
    "Absence",
    "AuditRow",
    "Cohorts",
    "Duties",
    "Duty",
    "HeldRow",
    "InstanceRow",
    "Ledger",
    "Overview",
    "Patients",
    "Shelf",
    "StudyRow",
    "Vault",
    "forget_selections",
    "keep_selection",
    "migrate",
    "note_access",
    "note_decision",
    "open_selection",
    "owns_its_trail",
    "prepare",
]
