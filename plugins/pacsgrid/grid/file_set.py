"""Files below a collection whose checksums are known: verify, repair and copy them.

Instances have their own modules; this is for what is derived from them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from pacsgrid.errors import ZoneError, ZoneUnavailableError
from pacsgrid.grid.catalog import CatalogReplica, replicas_below, replicas_in
from pacsgrid.grid.layout import PARTIAL, ensure_collection
from pacsgrid.grid.partner import CheckedReader
from pacsgrid.grid.put import put_object
from pacsgrid.grid.remove import remove_object
from pacsgrid.grid.repair import RepairReport, replace_bad
from pacsgrid.grid.replicas import prove
from pacsgrid.grid.resource_tree import replicate_missing
from pacsgrid.grid.zone import CONNECTIONS, Zone, translated_errors
from pacsgrid.model import ReplicaProof


@dataclass(frozen=True)
class KnownFile:
    """A file with its checksum, in the shape of `InstanceInfo`; its path is its name.

    Attributes
    ----------
    sop_uid
        The file's path below the collection.
    sha256, size
        SHA-256 in hex and bytes.
    """

    sop_uid: str
    sha256: str
    size: int
    study_uid: str = ""
    series_uid: str = ""
    subject: str = ""
    version: int = 1
    result: str = ""


@dataclass
class FileSetState:
    """What a zone's server found of the files in it.

    Attributes
    ----------
    replicas
        How many replicas are good.
    lacking
        The files with fewer good replicas than the zone is to hold.
    bad
        How many replicas are not good.
    absent
        The files without any good replica.
    """

    replicas: int = 0
    lacking: list[KnownFile] = field(default_factory=list)
    bad: int = 0
    absent: list[KnownFile] = field(default_factory=list)


class FileSet:
    """Files below a collection of a zone.

    Parameters
    ----------
    zone
        The zone.
    root
        The collection.
    files
        The files that it is to hold.
    """

    def __init__(self, zone: Zone, root: str, files: Sequence[KnownFile]) -> None:
        self._zone = zone
        self._root = root
        self._files = files

    def path(self, one: KnownFile) -> str:
        """Return the path of a file."""
        return f"{self._root}/{one.sop_uid}"

    def _present(self) -> dict[str, list[CatalogReplica]]:
        zone, root = self._zone, self._root
        return {**replicas_below(zone, root), **replicas_in(zone, root)}

    def verify(self) -> tuple[FileSetState, list[ReplicaProof]]:
        """Make the zone's server recompute every replica's checksum from storage.

        Returns
        -------
        FileSetState
            What it found.
        list of ReplicaProof
            One for each replica; one with number -1 for a file that is not there.

        Raises
        ------
        ZoneError, ZoneUnavailableError
            The zone refused, or does not answer.
        """
        present = self._present()
        work: list[tuple[KnownFile, CatalogReplica | None]] = []
        for one in self._files:
            replicas = present.get(self.path(one), [])
            work += [(one, replica) for replica in replicas] or [(one, None)]
        proofs = self._zone.run_parallel(lambda item: prove(self._zone, *item), work, CONNECTIONS)
        good = Counter(proof.sop_uid for proof in proofs if proof.good)
        return FileSetState(
            sum(good.values()),
            [one for one in self._files if good[one.sop_uid] < self._zone.settings.copies],
            sum(not proof.good and proof.replica >= 0 for proof in proofs),
            [one for one in self._files if not good[one.sop_uid]],
        ), proofs

    def repair(self, proofs: Sequence[ReplicaProof], now: datetime | None = None) -> RepairReport:
        """Replace bad replicas by copies of proven ones, and make those that are missing.

        Parameters
        ----------
        proofs
            What `verify` returned.
        now
            The time from which the age of an unfinished write is counted.

        Returns
        -------
        RepairReport
            What was repaired, and what could not be.

        Raises
        ------
        ZoneUnavailableError
            The zone does not answer.
        """
        report, present = RepairReport(), self._present()
        by_file: dict[str, list[ReplicaProof]] = defaultdict(list)
        for proof in proofs:
            by_file[proof.sop_uid].append(proof)
        for one in self._files:
            mine, replicas = by_file[one.sop_uid], present.get(self.path(one), [])
            if not replicas:
                continue
            good = sum(proof.good for proof in mine)
            try:
                with translated_errors(self._zone.settings.name):
                    if good < len(mine):
                        replace_bad(self._zone, report, one, replicas, mine, now)
                    elif good < self._zone.settings.copies:
                        held = [replica.resource for replica in replicas]
                        report.repaired += replicate_missing(self._zone, self.path(one), held)
            except ZoneUnavailableError:
                raise
            except ZoneError:
                report.refused.append(one.sop_uid)
        return report

    def copy_from(self, other: FileSet, wanted: Sequence[KnownFile]) -> list[KnownFile]:
        """Copy files from another zone, each whole or not at all.

        Parameters
        ----------
        other
            The same files in the other zone.
        wanted
            The files to copy; what is left of them here is replaced.

        Returns
        -------
        list of KnownFile
            Those that were copied. Others are not there, or damaged.

        Raises
        ------
        ZoneUnavailableError
            A zone does not answer.
        """
        there = other._present()
        given = [one for one in wanted if other.path(one) in there]
        for collection in sorted({self.path(one).rpartition("/")[0] for one in given}):
            ensure_collection(self._zone, collection)

        def read(one: KnownFile) -> BinaryIO:
            return CheckedReader(other._zone, other.path(one), one.sha256)  # type: ignore[return-value]

        def copy(one: KnownFile) -> bool:
            path = self.path(one)
            try:
                remove_object(self._zone, path + PARTIAL)
                with translated_errors(self._zone.settings.name):
                    put_object(self._zone, path + PARTIAL, one, read)
                    remove_object(self._zone, path)
                    self._zone.session.data_objects.move(path + PARTIAL, path)
            except ZoneUnavailableError:
                raise
            except ZoneError:
                return False  # it is damaged there
            return True

        done = self._zone.run_parallel(copy, given, CONNECTIONS)
        return [one for one, copied in zip(given, done, strict=True) if copied]

    def remove_others(self) -> int:
        """Remove what does not belong to the files, and return how many objects that were.

        Raises
        ------
        ZoneError, ZoneUnavailableError
            The zone refused, or does not answer.
        """
        known = {self.path(one) for one in self._files}
        others = [path for path in self._present() if path not in known]
        for path in others:
            remove_object(self._zone, path)
        return len(others)
