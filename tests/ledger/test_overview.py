"""What the page in Airflow asks the ledger."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from pacsgrid.ledger import Ledger, Overview
from pacsgrid.ledger.overview import HeldCounts
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

WAY = (StudyState.RETRIEVED, StudyState.ANONYMISED, StudyState.DEPOSITED, StudyState.REPLICATED)


def _instance(sop: str) -> AnonymisedInstance:
    return AnonymisedInstance("2.25.1", "2.25.2", sop, "P1", "CT", "", "ab" * 32, 1000, Path("x"))


@pytest.fixture
def filled(dsn: str) -> str:
    """Two projects: in `lung` one verified, one on its way, one held; in `brain` one found."""
    ledger = Ledger(dsn, "tester")
    for ref, project in (("a", "lung"), ("b", "lung"), ("c", "lung"), ("d", "brain")):
        ledger.studies.add_found(ref, project, "pacs", "hash", b"sealed")
    ledger.instances.add("a", [_instance("2.25.10"), _instance("2.25.11")])
    for state in (*WAY, StudyState.VERIFIED):
        ledger.studies.advance("a", state)
    proof = [ReplicaProof(s, "brno", "disk1", 0, "ab" * 32, True) for s in ("2.25.10",)]
    bad = [ReplicaProof("2.25.11", "brno", "disk1", 0, "00" * 32, False)]
    ledger.proofs.add("a", [*proof, *bad])
    ledger.held.add("a", "truncated", "the file ends early")
    ledger.studies.hold("b", "identity-left", "a name is left in (0010,0010)")
    return dsn


def test_an_overview_counts_its_own_projects_only(filled: str) -> None:
    lung = Overview(filled, ["lung"])
    assert {c.state.value: c.studies for c in lung.states()} == {
        "found": 1,
        "held": 1,
        "verified": 1,
    }
    assert lung.held_reasons() == {
        "identity-left": HeldCounts(studies=1, files=0),
        "truncated": HeldCounts(studies=0, files=1),
    }
    assert [(h.ref, h.whole) for h in lung.held()] == [("a", False), ("b", True)]
    assert lung.instances() == {"lung": 2}
    (health,) = lung.replicas()
    assert (health.zone, health.good, health.bad, health.failures) == ("brno", 1, 1, 1)
    assert health.oldest <= health.newest
    (hour,) = lung.throughput(24)
    assert (hour.studies, hour.instances, hour.size) == (1, 2, 2000)
    brain = Overview(filled, ["brain"])
    assert [s.ref for s in brain.studies()] == ["d"]
    assert (brain.held(), brain.replicas(), brain.story("a")) == ([], [], None)
    assert Overview(filled, []).states() == []


def test_a_story_tells_every_state_and_who_looked(filled: str) -> None:
    Ledger(filled).audit.add_access("steward", "b", "thumbnail")
    lung = Overview(filled, ["lung"])
    told = lung.story("a")
    assert told is not None
    assert [row.became for row in told.audit] == ["found", *WAY, "verified"]
    assert {row.actor for row in told.audit} == {"tester"}
    assert (told.instances, told.size, told.accesses) == (2, 2000, [])
    assert [(c.zone, c.good, c.bad) for c in told.copies] == [("brno", 1, 1)]
    seen = lung.story("b")
    assert seen is not None
    assert [(a.who, a.what) for a in seen.accesses] == [("steward", "thumbnail")]
    assert lung.studies(StudyState.VERIFIED)[0].ref == "a"


@pytest.mark.parametrize(
    "sql", ["DELETE FROM pacsgrid.access", "UPDATE pacsgrid.access SET who=''"]
)
def test_what_was_seen_cannot_be_unsaid(filled: str, sql: str) -> None:
    Ledger(filled).audit.add_access("steward", "b", "thumbnail")
    with (
        psycopg2.connect(filled) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.RaiseException),
    ):
        cursor.execute(sql)
