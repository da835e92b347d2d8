"""Simulated nights: a project is damaged at random between runs of `maintain`.

The vaults' files are read from disk, past every catalog and every proof. An instance that has one
good replica anywhere must have all of them again within the policy's interval of nights without
trouble. An instance that has none must be reported as lost.
"""

from __future__ import annotations

import hashlib
import random
import resource
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import RetryableError
from pacsgrid.grid.catalog import CatalogReplica, replicas_below
from pacsgrid.grid.repair import set_replica_status
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.maintain import MaintenanceReport, maintain
from pacsgrid.pipeline.report import project_report
from support.dicom import ct

INTERVAL = 3
START = datetime(2030, 1, 1, 22, tzinfo=UTC)
DAMAGES = ("flip", "delete", "cut", "stale", "intermediate", "locked")
TROUBLES = ("none", "killed", "absent", "full", "skew")


@dataclass
class Nights:
    """The simulation.

    Attributes
    ----------
    stack, dice
        What is damaged, and the seeded generator that chooses how.
    counts
        How often each kind of damage and trouble occurred.
    since
        Nights without trouble that each incomplete instance has lasted, by zone and SOP UID.
    unrecoverable
        Instances without any good replica, by SOP UID.
    reported
        SOP UIDs that `maintain` reported as lost.
    absent_for
        Nights until the partner zone is back.
    """

    stack: Stack
    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    since: dict[tuple[str, str], int] = field(default_factory=dict)
    unrecoverable: dict[str, str] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    absent_for: int = 0

    def fill(self, studies: int, instances: int) -> None:
        """Ingest some studies until they are verified."""
        file = self.stack.dir / "site.yaml"
        site = yaml.safe_load(file.read_text())
        site["projects"]["demo"]["replication"] = {"reverify_days": INTERVAL}
        file.write_text(yaml.safe_dump(site))
        for study in range(studies):
            for number in range(instances):
                uid = f"1.2.3.{study}"
                name = self.stack.drop / f"{study}-{number}.dcm"
                ct(name, uid, f"{uid}.1.{number}", fill=number)
        with ProjectContext(self.stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            assert clear_work_folders(context, refs) == studies

    def run(self, nights: int) -> None:
        """Damage and maintain by turns, then only maintain until everything must be complete."""
        for night in range(nights):
            self._night(night, quiet=False)
        for night in range(nights, nights + 2 * INTERVAL):
            self._night(night, quiet=True)
        with ProjectContext(self.stack.site, "demo") as context:
            assert not [
                key for key in self._incomplete(context) if key[1] not in self.unrecoverable
            ]
            assert set(self.unrecoverable) <= self.reported
            report = project_report(context, START + timedelta(days=nights + 2 * INTERVAL))
            assert report.settled is not bool(self.unrecoverable)

    def _night(self, night: int, quiet: bool) -> None:
        now = START + timedelta(days=night)
        trouble = "none" if quiet else self.dice.choice(TROUBLES)
        if self.absent_for:
            self.absent_for -= 1
            if not self.absent_for or quiet:
                self.absent_for = 0
                self.stack.start_zone("praha")
        elif trouble == "absent":
            self.absent_for = self.dice.randint(1, INTERVAL)
            self.stack.zones["praha"].kill()
        with ProjectContext(self.stack.site, "demo") as context:
            if not quiet:
                self._damage(context)
        if trouble == "skew":
            now += timedelta(hours=self.dice.choice((-30, -3, 5, 40)))
        self.counts[trouble] += 1
        killer = None
        if trouble == "killed":
            killer = threading.Timer(self.dice.uniform(0.05, 0.8), self.stack.zones["brno"].kill)
            killer.start()
        if trouble == "full":
            self._disk_full(True)
        try:
            with ProjectContext(self.stack.site, "demo") as context:
                outcome = maintain(context, now)
        except RetryableError:
            outcome = MaintenanceReport()
        if killer:
            killer.join()
            self.stack.start_zone("brno")
        if trouble == "full":
            self._disk_full(False)
        self.reported.update(uid for _, uid in outcome.lost)
        self._check(trouble == "none" and not self.absent_for)

    def _disk_full(self, full: bool) -> None:
        pid = self.stack.zones["brno"].pid
        if pid:
            # No file may grow, as on a full disk, not even the server's own catalog.
            limit = 1 if full else resource.RLIM_INFINITY
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            return
        # A real zone: its processes are not ours to limit, but its storage can refuse every write.
        for top in self.stack.storage["brno"].glob("**/home/demo"):
            for path in (top, *top.rglob("*")):
                mode = path.stat().st_mode
                path.chmod(mode & ~0o222 if full else mode | 0o200)

    def _zones(self) -> list[str]:
        return ["brno"] if self.absent_for else ["brno", "praha"]

    @staticmethod
    def _rows(context: ProjectContext) -> list[InstanceRecord]:
        studies = context.ledger.studies.find("demo")
        return [row for study in studies for row in context.ledger.instances.of_study(study.ref)]

    @staticmethod
    def _replicas(context: ProjectContext, zone: str) -> dict[str, list[CatalogReplica]]:
        there = replicas_below(context.zone(zone), f"/{zone}/home/demo/data")
        return {
            path.rsplit("/", 1)[1].removesuffix(".dcm"): replicas
            for path, replicas in there.items()
            if path.endswith(".dcm")
        }

    def _good(self, row: InstanceRecord, replicas: list[CatalogReplica]) -> list[CatalogReplica]:
        return [r for r in replicas if r.status == "1" and _digest(Path(r.file)) == row.sha256]

    def _damage(self, context: ProjectContext) -> None:
        """Damage some replicas; leave each instance a good one, except once in a while."""
        there = {zone: self._replicas(context, zone) for zone in self._zones()}
        rows = [row for row in self._rows(context) if row.sop_uid not in self.unrecoverable]
        for row in self.dice.sample(rows, k=min(3, len(rows))):
            good = [
                (zone, replica)
                for zone, replicas in there.items()
                for replica in self._good(row, replicas.get(row.sop_uid, []))
            ]
            if len(self.unrecoverable) < 1 and not self.absent_for and self.dice.random() < 0.1:
                for replicas in there.values():
                    for replica in replicas.get(row.sop_uid, []):
                        Path(replica.file).write_bytes(b"ruined")
                self.unrecoverable[row.sop_uid] = "ruined"
                self.counts["unrecoverable"] += 1
                continue
            self.dice.shuffle(good)
            for zone, replica in good[: self.dice.randint(0, max(0, len(good) - 1))]:
                self._harm(context, zone, replica)

    def _harm(self, context: ProjectContext, zone: str, replica: CatalogReplica) -> None:
        kind, file = self.dice.choice(DAMAGES), Path(replica.file)
        self.counts[kind] += 1
        if kind == "flip":
            data = bytearray(file.read_bytes())
            data[self.dice.randrange(len(data))] ^= 1 << self.dice.randrange(8)
            file.write_bytes(data)
        elif kind == "delete":
            file.unlink()
        elif kind == "cut":
            file.write_bytes(file.read_bytes()[:100])
        else:
            status = {"stale": "0", "intermediate": "2", "locked": "4"}[kind]
            set_replica_status(context.zone(zone), replica, status)

    def _incomplete(self, context: ProjectContext) -> set[tuple[str, str]]:
        """Return zone and SOP UID of instances with too few good replicas."""
        found = set()
        for zone in self._zones():
            there, copies = self._replicas(context, zone), context.project.replication.copies[zone]
            for row in self._rows(context):
                if len(self._good(row, there.get(row.sop_uid, []))) < copies:
                    found.add((zone, row.sop_uid))
        return found

    def _check(self, clean: bool) -> None:
        """Count the nights without trouble that each incomplete instance has lasted."""
        with ProjectContext(self.stack.site, "demo") as context:
            incomplete = self._incomplete(context)
        for key in list(self.since):
            if key[0] in self._zones() and key not in incomplete:
                del self.since[key]
        for key in incomplete:
            if key[1] not in self.unrecoverable:
                self.since[key] = self.since.get(key, -1) + clean
        # A clock that was ahead by a day and a half dates proofs that far into the future.
        assert all(nights <= INTERVAL + 2 for nights in self.since.values()), self.since


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
