"""What it means for a study that every replica is proven, exactly once."""

from __future__ import annotations

from pacsgrid.pipeline import ProjectContext


def proven_once(context: ProjectContext, ref: str) -> bool:
    """Whether every instance has two good replicas at home and one at the partner's, no more."""
    proofs = context.ledger.proofs.of_study(ref)
    rows = context.ledger.instances.of_study(ref)
    expected = sorted((row.sop_uid, zone) for row in rows for zone in ("brno", "brno", "praha"))
    return sorted((p.sop_uid, p.zone) for p in proofs if p.good) == expected
