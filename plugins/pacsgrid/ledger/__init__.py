"""The ledger in PostgreSQL: states, proofs, the audit trail and the sealed vault."""

from pacsgrid.ledger.connection import server_time
from pacsgrid.ledger.consents import ConsentRow
from pacsgrid.ledger.grants import Grant, GrantEvent, GrantState
from pacsgrid.ledger.ingest_records import Ingest, IngestKind, IngestState
from pacsgrid.ledger.ledger import Ledger
from pacsgrid.ledger.logins import Login, LoginEvent, LoginMember
from pacsgrid.ledger.migrate import migrate
from pacsgrid.ledger.overview import Overview
from pacsgrid.ledger.records import HeldRecord, InstanceRecord, StateChange, StudyRecord
from pacsgrid.ledger.release_overview import ReleaseOverview
from pacsgrid.ledger.replication import DEPOSITED, ReplicationTask
from pacsgrid.ledger.result_overview import ResultEntry, ResultOverview, Standing
from pacsgrid.ledger.roles import owns_its_trail, prepare
from pacsgrid.ledger.studies import STATE_ORDER
from pacsgrid.ledger.subjects import SubjectRow
from pacsgrid.ledger.trail_archive import ArchivedPart, archive_trail
from pacsgrid.ledger.vault import Vault
from pacsgrid.ledger.worklist import PendingStudy, WaveLimits

__all__ = [
    "DEPOSITED",
    "STATE_ORDER",
    "ArchivedPart",
    "ConsentRow",
    "Grant",
    "GrantEvent",
    "GrantState",
    "HeldRecord",
    "Ingest",
    "IngestKind",
    "IngestState",
    "InstanceRecord",
    "Ledger",
    "Login",
    "LoginEvent",
    "LoginMember",
    "Overview",
    "PendingStudy",
    "ReleaseOverview",
    "ReplicationTask",
    "ResultEntry",
    "ResultOverview",
    "Standing",
    "StateChange",
    "StudyRecord",
    "SubjectRow",
    "Vault",
    "WaveLimits",
    "archive_trail",
    "migrate",
    "owns_its_trail",
    "prepare",
    "server_time",
]
