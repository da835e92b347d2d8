"""Repair small documents, whose checksums the ledger does not know."""

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
    """A document in the shape of `InstanceInfo`; its path takes the place of the SOP UID."""

    sop_uid: str
    sha256: str
    size: int
    study_uid: str = ""
    series_uid: str = ""
    subject: str = ""
    version: int = 1
    result: str = ""


def repair_documents(zone: Zone, collection: str, now: datetime | None = None) -> RepairReport:
    """Recompute every replica of the objects directly in a collection; replace the bad ones.

    The expected checksum of a document is the one that most of its replicas are registered with.

    Parameters
    ----------
    zone
        The zone.
    collection
        The collection; what lies in collections below it is not touched.
    now
        The time from which the age of an unfinished write is counted.

    Returns
    -------
    RepairReport
        What was done; `lost`, `busy` and `refused` hold paths.

    Raises
    ------
    ZoneError, ZoneUnavailableError
        The zone refused to list the collection, or does not answer.
    """
    report = RepairReport()
    for path, replicas in replicas_in(zone, collection).items():
        document = _expected(path, replicas)
        proofs = _proofs(zone, document, replicas)
        if all(proof.good for proof in proofs):
            continue
        try:
            with translated_errors(zone.settings.name):
                replace_bad(zone, report, document, replicas, proofs, now)
        except ZoneError:
            report.refused.append(path)
    return report


def _expected(path: str, replicas: Sequence[CatalogReplica]) -> _Document:
    ((checksum, size), _), *_ = Counter((r.checksum, r.size) for r in replicas).most_common(1)
    return _Document(path, hex_checksum(checksum), size)


def _proofs(
    zone: Zone, document: _Document, replicas: Sequence[CatalogReplica]
) -> list[ReplicaProof]:
    with translated_errors(zone.settings.name):
        sums = [hex_checksum(recompute_checksum(zone, document, replica)) for replica in replicas]
    return [
        ReplicaProof(
            document.sop_uid,
            zone.settings.name,
            replica.resource,
            replica.number,
            sha256,
            sha256 == document.sha256 and replica.status == GOOD,
        )
        for replica, sha256 in zip(replicas, sums, strict=True)
    ]
