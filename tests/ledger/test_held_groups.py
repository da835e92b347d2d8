"""Ten thousand held files in groups: what a page shows, what it reads, and decisions about it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from pacsgrid.ledger import Ledger, Overview
from pacsgrid.ledger.database import Database
from pacsgrid.ledger.held_groups import HeldGroups
from pacsgrid.ledger.reviews import Decision, Selected
from pacsgrid.review_model import BlankRegion, HeldImage, ImageTraits

HELD, GROUPS = 10_000, 400
_FILL = """
INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state)
SELECT 'st-' || n, 'demo', 'pacs', 'h', 'verified' FROM generate_series(0, 4999) n;
INSERT INTO pacsgrid.held_item (ref, code, detail, sha256, since, series, frames, alike)
SELECT 'st-' || n / 2, 'secondary-capture', 'look', lpad(to_hex(n), 64, '0'),
    timestamptz '2030-01-01 00:00+00' + n * interval '1 s', '2.25.' || n / 2, 1,
    pacsgrid.held_group_of('demo', false, 'secondary-capture', 'ACME', 'M' || n % 400, 'OT', '1.2',
        'Screen', 512, 512)
FROM generate_series(0, 9999) n;
"""
_BIG = {"study", "held_item", "review_file", "review_use"}


@pytest.fixture(scope="module")
def many(module_dsn: str) -> Ledger:
    Ledger(module_dsn).studies.count_by_state("demo")
    with psycopg2.connect(module_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_FILL)
        connection.commit()
        connection.autocommit = True
        cursor.execute("SELECT pacsgrid.fold_counters()")
        cursor.execute("ANALYZE")
    return Ledger(module_dsn)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _of_group(view: HeldGroups) -> str:
    return view.page(1)[0].id


VIEWS: dict[str, Callable[[HeldGroups], object]] = {
    "groups": lambda view: view.page(60),
    "next groups": lambda view: view.page(60, (25, "hg-8")),
    "filtered": lambda view: view.page(60, code="secondary-capture", modality="OT", words="m39"),
    "group": lambda view: view.get(_of_group(view)),
    "files": lambda view: view.files(_of_group(view), 60),
    "file": lambda view: view.file("st-7", f"{14:064x}"),
    "decided": lambda view: view.count_decided(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_reads_a_page_and_not_what_waits(
    many: Ledger, module_dsn: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    view = HeldGroups(module_dsn, ["demo"])
    assert VIEWS[name](view) or name == "decided"
    start = time.perf_counter()
    VIEWS[name](view)
    print(f"{name}: {1000 * (time.perf_counter() - start):.1f} ms with {HELD} held files")
    nodes: list[dict[str, Any]] = []
    asked = 0
    every = Database.all

    def explained(self: Database, sql: str, values: Any = ()) -> list[Any]:
        nonlocal asked
        asked += 1
        with self.transaction():
            # The tables of a real archive are too large to be read whole.
            self.run("SET LOCAL enable_seqscan = off")
            ((plan,),) = every(self, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
        nodes.extend(_nodes((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]))
        return every(self, sql, values)

    monkeypatch.setattr(Database, "all", explained)
    VIEWS[name](view)
    assert asked <= 2
    read = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if node.get("Relation Name") in _BIG
    )
    assert read <= 250, name


def test_pages_join_without_gap_or_repeat(many: Ledger, module_dsn: str) -> None:
    view = HeldGroups(module_dsn, ["demo"])
    groups = view.page(1000)
    assert len(groups) == GROUPS and sum(group.count for group in groups) == HELD
    assert HeldGroups(module_dsn, ["other"]).page() == []
    paged = view.page(70)
    while page := view.page(70, (paged[-1].count, paged[-1].id)):
        paged += page
    assert paged == groups
    group = groups[0]
    files = view.files(group.id, 100)
    parts = view.files(group.id, 7)
    while page_of_files := view.files(
        group.id, 7, (parts[-1].since, parts[-1].ref, parts[-1].sha256)
    ):
        parts += page_of_files
    assert parts == files and len(parts) == group.count == 25
    assert (group.ref, group.sha256, group.oldest) == (
        files[0].ref, files[0].sha256, files[0].since,
    )  # fmt: skip
    assert HeldGroups(module_dsn, ["other"]).files(group.id) == []
    assert HeldGroups(module_dsn, ["other"]).get(group.id) is None


def test_counts_of_groups_equal_a_recount_whatever_was_decided(dsn: str) -> None:
    ledger, view = Ledger(dsn), HeldGroups(dsn, ["demo"])
    image = HeldImage(ImageTraits("ACME", "M", "OT", "1.2", "Screen", 9, 9), "2.25.1", 1)
    for ref in ("a", "b", "c", "d"):
        ledger.studies.add_found(ref, "demo", "pacs", "hash", b"")
        ledger.held.add(ref, "label", "look", f"{ref}1", image)
        ledger.held.add(ref, "label", "look", f"{ref}2", image)
    ledger.studies.hold("a", "label", "its files stand for it")
    ledger.studies.hold("b", "conflict", "of its own", traits=image.traits)
    by_code = {group.code: group for group in view.page()}
    assert {code: (g.count, g.whole) for code, g in by_code.items()} == {
        "label": (8, False),
        "conflict": (1, True),
    }
    label = by_code["label"]
    one = Decision(
        "demo", "blank", frozenset({"label"}), "seen", "eva", "", (BlankRegion(1, 1, 2, 2),)
    )
    number, files = ledger.reviews.decide(one, Selected((("a", "a1"),), series=True))
    assert files == 2
    number, files = ledger.reviews.decide(one, Selected((("c", "c1"),)))
    assert files == 1 and view.count_decided() == {"demo": 3}
    assert ledger.reviews.to_carry_out("demo") == ["a", "c"]
    found = view.get(label.id)
    assert found is not None and found.count == 5
    assert set(ledger.reviews.of_study("c")) == {"c1"}
    assert ledger.reviews.of_study("c")["c1"][0].regions == (BlankRegion(1, 1, 2, 2),)
    with ledger.database.transaction():
        assert ledger.reviews.carry_out("c", ledger.reviews.decided("c")) == 1
    ledger.held.add("c", "label", "once more", "c1", image)
    reject = Decision("demo", "reject", frozenset({"conflict"}), "seen", "eva")
    assert ledger.reviews.decide(reject, Selected((("b", ""),)))[1] == 1
    ledger.studies.hold("b", "empty", "another reason")
    ledger.studies.unhold("b")
    ledger.reviews.add_uses("c", [(number, "c1"), (number, "c1")])
    ledger.reviews.add_uses("c", [(number, "c1")])
    sums = (
        "SELECT kind, key, sum(number) FROM pacsgrid.counter WHERE kind <> 'volume'"
        " GROUP BY 1, 2 HAVING sum(number) <> 0 ORDER BY 1, 2"
    )
    kept = ledger.database.all(sums)
    assert ("review_use", str(number), 1) in kept
    ledger.database.all("SELECT pacsgrid.recount()")
    assert ledger.database.all(sums) == kept
    counts = Overview(dsn, ["demo"]).held_counts()
    assert (counts.studies, counts.files) == (1, 8)
