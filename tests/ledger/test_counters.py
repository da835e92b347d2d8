"""Counts that triggers keep, and the plans of what the page and reports ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from pacsgrid.config import ReplicationPolicy
from pacsgrid.ledger import Ledger, Overview
from pacsgrid.ledger.database import Database
from pacsgrid.ledger.overview import HeldCounts, StudyOrder
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

NOW = datetime(2030, 5, 1, tzinfo=UTC)
POLICY = ReplicationPolicy(zones={"brno": {"copies": 1}, "praha": {"copies": 1}}, reverify_days=30)
# Few enough to be made in a second, and enough for the planner to prefer an index.
STUDIES = 4000
BIG = {"study", "instance", "series", "proof", "holding", "coverage", "audit", "held_item", "vault"}
_FILL = """
SET session_replication_role = replica;
INSERT INTO pacsgrid.study (ref, project, source, profile_hash, state, held_code, changed_at,
    subject, study_uid, instances, bytes)
SELECT 'st-' || n, 'demo', 'pacs', 'h', CASE WHEN n % 400 = 0 THEN 'held' ELSE 'verified' END,
    CASE WHEN n % 400 = 0 THEN 'truncated' END, now() - n * interval '1 min', 'P' || n / 2,
    '1.' || n, 3, 30 FROM generate_series(1, 4000) n;
INSERT INTO pacsgrid.instance SELECT 'demo', study_uid || '.1.' || n, ref, study_uid,
    study_uid || '.1', subject, 'CT', repeat('a', 64), 10
FROM pacsgrid.study, generate_series(1, 3) n;
INSERT INTO pacsgrid.proof SELECT ref, sop_uid, zone, 0, 'disk', sha256, true,
    timestamptz '2030-05-01 00:00+00' - length(sop_uid) * interval '1 hour'
FROM pacsgrid.instance, (VALUES ('brno'), ('praha')) z (zone);
INSERT INTO pacsgrid.audit (ref, was, became, actor) SELECT ref, NULL, state, 'x'
FROM pacsgrid.study;
INSERT INTO pacsgrid.held_item (ref, code, detail, sha256, project)
SELECT ref, 'truncated', '', 'x', project FROM pacsgrid.study;
INSERT INTO pacsgrid.holding SELECT ref, zone, 1, count(*), 0, min(verified_at)
FROM pacsgrid.proof GROUP BY 1, 2;
INSERT INTO pacsgrid.series SELECT ref, series_uid, project, modality, count(*), sum(size)
FROM pacsgrid.instance GROUP BY 1, 2, 3, 4;
INSERT INTO pacsgrid.coverage SELECT ref, zone, 'demo', state = 'verified', 1, 0, oldest
FROM pacsgrid.holding JOIN pacsgrid.study USING (ref);
UPDATE pacsgrid.coverage SET least = 0 WHERE ref = 'st-7' AND zone = 'brno';
SELECT pacsgrid.recount();
"""


def _study(ledger: Ledger, ref: str, *sops: str) -> list[AnonymisedInstance]:
    ledger.studies.add_found(ref, "demo", "pacs", "hash", b"")
    made = [
        AnonymisedInstance(f"1.{ref}", f"1.{ref}.1", sop, "P1", "CT", "", "a" * 64, 9, Path())
        for sop in sops
    ]
    ledger.instances.add(ref, made)
    return made


def _prove(ledger: Ledger, ref: str, made: list[AnonymisedInstance], zones: str) -> None:
    proofs = [
        ReplicaProof(one.sop_uid, zone, "disk", 0, "a" * 64, True)
        for one in made
        for zone in zones.split()
    ]
    ledger.proofs.add(ref, proofs, NOW)


def _verify(ledger: Ledger, ref: str) -> None:
    for state in ("retrieved", "anonymised", "deposited", "replicated", "verified"):
        ledger.studies.advance(ref, StudyState(state))


def _recounted(ledger: Ledger) -> list[Any]:
    """Return the sums of the counters as they are, and as a recount makes them."""
    sums = (
        "SELECT project, kind, key, at, sum(number), sum(instances), sum(bytes)"
        " FROM pacsgrid.counter WHERE kind <> 'volume' GROUP BY 1, 2, 3, 4"
        " HAVING sum(number) <> 0 OR sum(instances) <> 0 ORDER BY 1, 2, 3, 4"
    )
    kept = ledger.database.all(sums)
    ledger.database.all("SELECT pacsgrid.recount()")
    return [kept, ledger.database.all(sums)]


def test_counters_equal_a_recount_whatever_happened(dsn: str) -> None:
    ledger = Ledger(dsn)
    made = {ref: _study(ledger, ref, f"2.{ref}.1", f"2.{ref}.2") for ref in "12345"}
    for ref in "123":
        _verify(ledger, ref)
        _prove(ledger, ref, made[ref], "brno praha")
    ledger.studies.hold("4", "truncated", "for the test")
    ledger.held.add("1", "burned-in", "for the test", "f1")
    ledger.held.add("1", "burned-in", "for the test", "f2")
    ledger.held.remove("1")
    ledger.held.add("2", "burned-in", "for the test", "f3")
    ledger.studies.hold("2", "conflict", "for the test")
    ledger.studies.unhold("2")
    ledger.studies.reopen("3")
    ledger.instances.add(
        "3", [AnonymisedInstance("1.3", "1.3.2", "2.3.9", "P1", "MR", "", "b" * 64, 5, Path())]
    )
    bad = ReplicaProof("2.1.1", "brno", "disk", 0, "0" * 64, False)
    ledger.proofs.add("1", [bad], NOW)
    kept, counted = _recounted(ledger)
    assert kept == counted
    view = Overview(dsn, ["demo"])
    assert {c.state.value: c.studies for c in view.states()} == {
        "found": 3,
        "held": 1,
        "verified": 1,
    }
    held = view.held_counts()
    assert (held.studies, held.files) == (1, 1)
    reasons = {
        "burned-in": HeldCounts(studies=0, files=1),
        "truncated": HeldCounts(studies=1, files=0),
        "conflict": HeldCounts(studies=0, files=0),
    }
    assert view.held_reasons(ever=True) == reasons
    assert ledger.consistency.violations("demo") == []
    before = _sums(ledger)
    assert ledger.counters.fold() > 0
    assert _sums(ledger) == before
    assert view.held_reasons(ever=True) == reasons


def _sums(ledger: Ledger) -> list[Any]:
    return ledger.database.all(
        "SELECT project, kind, key, sum(number), sum(instances) FROM pacsgrid.counter"
        " GROUP BY 1, 2, 3 HAVING sum(number) <> 0 OR sum(instances) <> 0 ORDER BY 1, 2, 3"
    )


def test_a_zone_covers_a_study_when_every_instance_is_proven(dsn: str) -> None:
    ledger = Ledger(dsn)
    made = _study(ledger, "1", "2.1", "2.2")
    _verify(ledger, "1")
    assert [(t.zone, t.lacking) for t in ledger.tasks.damaged("demo", POLICY)] == [
        ("brno", 2),
        ("praha", 2),
    ]
    _prove(ledger, "1", made[:1], "brno praha")
    assert {(t.zone, t.lacking) for t in ledger.tasks.damaged("demo", POLICY)} == {
        ("brno", 1),
        ("praha", 1),
    }
    _prove(ledger, "1", made, "brno")
    assert [(t.zone, t.lacking) for t in ledger.tasks.damaged("demo", POLICY)] == [("praha", 1)]
    _prove(ledger, "1", made, "praha")
    assert ledger.tasks.damaged("demo", POLICY) == []
    wider = POLICY.replace(
        zones={"brno": {"copies": 2}, "praha": {"copies": 1}, "plzen": {"copies": 1}}
    )
    assert {(t.zone, t.lacking) for t in ledger.tasks.damaged("demo", wider)} == {
        ("brno", 2),
        ("plzen", 2),
    }
    duties = ledger.tasks.zones("demo", wider, NOW + timedelta(days=1))
    assert {z: (d.studies, d.instances, d.overdue) for z, d in duties.items()} == {
        "brno": (1, 2, 1),
        "praha": (1, 2, 1),
        "plzen": (1, 2, 0),
    }


def test_pages_of_studies_and_held_files_join_without_gap_or_repeat(dsn: str) -> None:
    ledger = Ledger(dsn)
    with ledger.database.transaction():  # one time for all: references decide the order
        for number in range(9):
            ref = f"st-{number}"
            ledger.studies.add_found(ref, "demo", "pacs", "hash", b"")
            ledger.held.add(ref, "truncated", "", "x")
            ledger.held.add(ref, "truncated", "", "y")  # as old as the other
            if number % 2:
                ledger.studies.hold(ref, "no-list", "")
    view = Overview(dsn, ["demo"])
    everything = [s.ref for s in view.studies(limit=99)]
    page = view.studies(limit=2)
    paged: list[str] = []
    while page:
        paged += [study.ref for study in page]
        page = view.studies(limit=2, after=(page[-1].changed_at, page[-1].ref))
    assert paged == everything and len(set(paged)) == 9
    whole = view.held(99)
    parts = view.held(3)
    while page_of_held := view.held(3, parts[-1]):
        parts += page_of_held
    assert parts == whole and len(parts) == 22


@pytest.fixture(scope="module")
def many(module_dsn: str) -> Ledger:
    Ledger(module_dsn).studies.count_by_state("demo")
    with psycopg2.connect(module_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_FILL)  # the triggers are off
        connection.commit()
        connection.autocommit = True
        cursor.execute("ANALYZE")
    return Ledger(module_dsn)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect the nodes of the plan of every query, with the rows that it read."""
    nodes: list[dict[str, Any]] = []
    every, stream = Database.all, Database.stream

    def explain(self: Database, sql: str, values: Any) -> None:
        # The tables of a real archive are too large to be read whole.
        self.run("SET LOCAL enable_seqscan = off")
        ((plan,),) = every(self, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
        found = plan if isinstance(plan, list) else json.loads(plan)
        nodes.extend(_nodes(found[0]["Plan"]))

    def all_explained(self: Database, sql: str, values: Any = ()) -> list[Any]:
        with self.transaction():
            if sql.lstrip().startswith(("SELECT", "WITH")):
                explain(self, sql, values)
            return every(self, sql, values)

    def stream_explained(self: Database, sql: str, values: Any = ()) -> Any:
        with self.transaction():
            explain(self, sql, values)
        return stream(self, sql, values)

    monkeypatch.setattr(Database, "all", all_explained)
    monkeypatch.setattr(Database, "stream", stream_explained)
    return nodes


def _ask(ledger: Ledger, dsn: str, what: str) -> object:
    view = Overview(dsn, ["demo"])
    record = StudyState.VERIFIED
    asked: dict[str, Any] = {
        "states": view.states,
        "reasons": lambda: view.held_reasons(ever=True),
        "held counts": view.held_counts,
        "replicas": view.replicas,
        "instances": view.instances,
        "throughput": lambda: view.throughput(48),
        "studies": lambda: view.studies(record, 50),
        "next studies": lambda: view.studies(record, 50, (datetime.now(UTC), "st-9")),
        "held": lambda: view.held(50),
        "held for a reason": lambda: view.held(50, code="truncated"),
        "held studies, newest": lambda: view.held(50, whole=True, newest=True),
        "largest": lambda: view.studies(record, 50, order=StudyOrder.LARGEST),
        "next largest": lambda: view.studies(record, 50, (10**6, "st-9"), order=StudyOrder.LARGEST),
        "of a source": lambda: view.studies(record, 50, source="pacs"),
        "smallest of a source": lambda: view.studies(
            record, 50, source="pacs", order=StudyOrder.SMALLEST
        ),
        "found by reference": lambda: view.find("st-99"),
        "story": lambda: view.story("st-9"),
        "count by state": lambda: ledger.studies.count_by_state("demo"),
        "damaged": lambda: ledger.tasks.damaged("demo", POLICY),
        "zones": lambda: ledger.tasks.zones("demo", POLICY, NOW - timedelta(days=30)),
        "sources": lambda: ledger.studies.sources("demo"),
        "by subject": lambda: ledger.studies.find_by_pseudonym("demo", "P7"),
        "of subject": lambda: ledger.instances.sop_uids_of_subject("demo", "P7"),
        "cohort": lambda: ledger.instances.refs_of("demo", ["1.7", "1.9"], []),
        "records": lambda: ledger.studies.records(["st-1", "st-2"]),
    }
    return asked[what]()


@pytest.mark.parametrize(
    "what",
    [
        "states",
        "reasons",
        "held counts",
        "replicas",
        "instances",
        "throughput",
        "studies",
        "next studies",
        "held",
        "held for a reason",
        "held studies, newest",
        "largest",
        "next largest",
        "of a source",
        "smallest of a source",
        "found by reference",
        "story",
        "count by state",
        "zones",
        "sources",
        "by subject",
        "of subject",
        "cohort",
        "records",
    ],
)
def test_what_the_page_asks_reads_no_large_table_whole(
    many: Ledger, module_dsn: str, explained: list[dict[str, Any]], what: str
) -> None:
    assert _ask(many, module_dsn, what) is not None
    assert explained
    for node in explained:
        if node.get("Relation Name") in BIG:
            assert node["Node Type"] != "Seq Scan", node
            assert node["Actual Rows"] * node["Actual Loops"] <= 400, node


def test_the_report_reads_the_damaged_studies_only(
    many: Ledger, explained: list[dict[str, Any]]
) -> None:
    (task,) = many.tasks.damaged("demo", POLICY)
    assert (task.ref, task.zone) == ("st-7", "brno")
    # Studies that were held after their deposit are looked at one by one: they are work at hand.
    read = [n for n in explained if n.get("Relation Name") in {"study", "coverage"}]
    assert max(n["Actual Rows"] * n["Actual Loops"] for n in read) <= STUDIES // 40
