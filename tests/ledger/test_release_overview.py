"""Releases and withdrawals as the page shows them."""

from __future__ import annotations

from pathlib import Path

from pacsgrid.ledger import Ledger, ReleaseOverview
from pacsgrid.model import AnonymisedInstance


def _instance(study: str, sop: str, subject: str) -> AnonymisedInstance:
    return AnonymisedInstance(study, "2.25.2", sop, subject, "CT", "", "ab" * 32, 1000, Path("x"))


def test_versions_and_withdrawals_are_told_per_project(dsn: str) -> None:
    ledger = Ledger(dsn, "tester")
    for ref, subject in (("a", "P1"), ("b", "P2")):
        ledger.studies.add_found(ref, "lung", "pacs", "hash", b"sealed")
        made = [_instance(f"2.25.{ref}", f"2.25.{ref}.{n}", subject) for n in range(2)]
        ledger.instances.add(ref, made)
    ledger.releases.add("lung", "heads", 1, "digest", ["a", "b"])
    ledger.releases.add("lung", "empty", 1, "digest", [])
    (empty, heads) = ReleaseOverview(dsn, ["lung"]).releases()
    (first,) = ReleaseOverview(dsn, ["lung"]).releases(limit=1)
    place = (first.made_at, first.name, first.version)
    assert [first, *ReleaseOverview(dsn, ["lung"]).releases(after=place)] == [empty, heads]
    counts = (heads.subjects, heads.studies, heads.instances, heads.size)
    assert counts == (2, 2, 4, 4000) and heads.retired_at is None
    assert (empty.name, empty.studies, empty.size) == ("empty", 0, 0)
    assert ReleaseOverview(dsn, ["brain"]).releases() == []

    ledger.releases.mark_retired("lung", "heads", 1)
    ledger.withdrawals.withdraw("lung", "P1", ["brno", "praha"])
    ledger.withdrawals.mark_erased("lung", "P1", "brno", "{}")
    (gone,) = ReleaseOverview(dsn, ["lung"]).withdrawals()
    assert (gone.subject, gone.waiting, gone.proven_at) == ("P1", ["praha"], None)
    ledger.withdrawals.mark_erased("lung", "P1", "praha", "{}")
    (gone,) = ReleaseOverview(dsn, ["lung"]).withdrawals()
    assert gone.waiting == [] and gone.proven_at is not None
    heads = ReleaseOverview(dsn, ["lung"]).releases()[1]
    assert (heads.subjects, heads.studies, heads.instances, heads.size) == (1, 1, 2, 2000)
    assert {
        row.name: row.retired_at is None for row in ReleaseOverview(dsn, ["lung"]).releases()
    } == {
        "heads": False,
        "empty": True,
    }
    assert ReleaseOverview(dsn, []).withdrawals() == []
