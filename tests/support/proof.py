"""What it means for a study that every replica is proven, exactly once."""

from __future__ import annotations

from pacsgrid.pipeline import Line


def proven_once(line: Line, ref: str) -> bool:
    """Whether every instance has two good replicas at home and one at the partner's, no more."""
    proofs = line.ledger.proofs.of_study(ref)
    rows = line.ledger.instances.of_study(ref)
    expected = sorted((row.sop_uid, zone) for row in rows for zone in ("brno", "brno", "praha"))
    return sorted((p.sop_uid, p.zone) for p in proofs if p.good) == expected
