"""Mend: documents beside the instances, compared with the checksum they were put with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pacsgrid.errors import ZoneError
from pacsgrid.grid.catalog import GOOD, CatalogReplica, replicas_in
from pacsgrid.grid.repair import RepairReport, replace_bad
from pacsgrid.grid.replicas import recompute_checksum
from pacsgrid.grid.zone import Zone, hex_checksum, translated_errors
from pacsgrid.model import ReplicaProof


@dataclass(frozen=True)
class _Document:
    """A document as `Deposited`; its path stands for the instance's UID."""

    sop_uid: str
    sha256: str
    size: int
    study_uid: str = ""
    series_uid: str = ""
    subject: str = ""


def repair_documents(zone: Zone, collection: str, now: datetime | None = None) -> RepairReport:
    """Recompute every replica of a collection's own objects and replace the bad ones.

    The ledger does not know these objects; what most replicas have as checksum is what they are
    to be. `Repair.lost`, `busy` and `refused` hold their paths.
    """
    done = RepairReport()
    for path, replicas in replicas_in(zone, collection).items():
        document = _expected(path, replicas)
        with translated_errors(zone.settings.name):
            sums = [
                hex_checksum(recompute_checksum(zone, document, replica)) for replica in replicas
            ]
        proofs = [
            ReplicaProof(
                path,
                zone.settings.name,
                replica.resource,
                replica.number,
                sha256,
                sha256 == document.sha256 and replica.status == GOOD,
            )
            for replica, sha256 in zip(replicas, sums, strict=True)
        ]
        if all(proof.good for proof in proofs):
            continue
        try:
            with translated_errors(zone.settings.name):
                replace_bad(zone, done, document, replicas, proofs, now)
        except ZoneError:
            done.refused.append(path)
    return done


def _expected(path: str, replicas: Sequence[CatalogReplica]) -> _Document:
    ((checksum, size), _), *_ = Counter((r.checksum, r.size) for r in replicas).most_common(1)
    return _Document(path, hex_checksum(checksum), size)
