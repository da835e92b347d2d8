"""The ledger: each kind of record has a class of its own, and all share one database."""

from __future__ import annotations

from pacsgrid.ledger.audit import AuditTrail
from pacsgrid.ledger.cohort_index import CohortIndex
from pacsgrid.ledger.consents import Consents
from pacsgrid.ledger.consistency import Consistency
from pacsgrid.ledger.counters import Counters
from pacsgrid.ledger.data_sets import DataSets
from pacsgrid.ledger.database import Database
from pacsgrid.ledger.deid_reports import DeidReports
from pacsgrid.ledger.disclosures import Disclosures
from pacsgrid.ledger.grants import Grants
from pacsgrid.ledger.held_items import HeldItems
from pacsgrid.ledger.ingests import Ingests
from pacsgrid.ledger.instances import Instances
from pacsgrid.ledger.issued_uids import IssuedUids
from pacsgrid.ledger.logins import Logins
from pacsgrid.ledger.patients import Patients
from pacsgrid.ledger.proofs import Proofs
from pacsgrid.ledger.received_files import ReceivedFiles
from pacsgrid.ledger.releases import Releases
from pacsgrid.ledger.replication import ReplicationTasks
from pacsgrid.ledger.results import Results
from pacsgrid.ledger.reviews import Reviews
from pacsgrid.ledger.samples import Samples
from pacsgrid.ledger.saved_cohorts import SavedCohorts
from pacsgrid.ledger.selections import Selections
from pacsgrid.ledger.series_choices import SeriesChoices
from pacsgrid.ledger.studies import Studies
from pacsgrid.ledger.subjects import Subjects
from pacsgrid.ledger.sync_cursor import SyncCursor
from pacsgrid.ledger.vault_entries import VaultEntries
from pacsgrid.ledger.versions import Versions
from pacsgrid.ledger.withdrawals import Withdrawals
from pacsgrid.ledger.worklist import Worklist
from pacsgrid.ledger.zone_absences import ZoneAbsences


class Ledger:
    """The ledger, on behalf of one actor; it connects on first use and needs no closing.

    Each call of its stores is one transaction. Calls within ``database.transaction()`` are stored
    together; those within ``database.snapshot()`` see one state.

    Parameters
    ----------
    dsn
        libpq connection string; the schema is brought up to date on first use.
    actor
        Written into the audit trail with every change of a study's state.
    """

    def __init__(self, dsn: str, actor: str = "pipeline") -> None:
        self.database = Database(dsn, actor)
        self.studies = Studies(self.database)
        self.worklist = Worklist(self.database)
        self.ingests = Ingests(self.database)
        self.vault = VaultEntries(self.database)
        self.instances = Instances(self.database)
        self.reports = DeidReports(self.database)
        self.received = ReceivedFiles(self.database)
        self.held = HeldItems(self.database)
        self.reviews = Reviews(self.database)
        self.proofs = Proofs(self.database)
        self.tasks = ReplicationTasks(self.database)
        self.absences = ZoneAbsences(self.database)
        self.results = Results(self.database)
        self.issued_uids = IssuedUids(self.database)
        self.disclosures = Disclosures(self.database)
        self.releases = Releases(self.database)
        self.data_sets = DataSets(self.database)
        self.cohorts = CohortIndex(self.database)
        self.saved_cohorts = SavedCohorts(self.database)
        self.grants = Grants(self.database)
        self.logins = Logins(self.database)
        self.withdrawals = Withdrawals(self.database)
        self.versions = Versions(self.database)
        self.patients = Patients(self.database)
        self.consents = Consents(self.database)
        self.subjects = Subjects(self.database)
        self.selections = Selections(self.database)
        self.series = SeriesChoices(self.database)
        self.samples = Samples(self.database)
        self.audit = AuditTrail(self.database)
        self.consistency = Consistency(self.database)
        self.counters = Counters(self.database)

    def sync_cursor(self, project: str, source: str) -> SyncCursor:
        """Return up to which day a project has queried a source.

        Parameters
        ----------
        project
            The project's name.
        source
            The name of the DICOM source.
        """
        return SyncCursor(self.database, project, source)
