"""The planner: only what is missing or due, spread over nights; zones that are away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacsgrid.config import ReplicationPolicy
from pacsgrid.ledger import Duties, Ledger, migrate
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

NOW = datetime(2030, 5, 1, tzinfo=UTC)
POLICY = ReplicationPolicy(zones={"brno": {"copies": 2}, "praha": {"copies": 1}}, reverify_days=10)
WAY = ("retrieved", "anonymised", "deposited", "replicated", "verified")


@pytest.fixture
def ledger(dsn: str) -> Iterator[Ledger]:
    migrate(dsn)
    with Ledger(dsn) as ledger:
        yield ledger


@pytest.fixture
def duties(ledger: Ledger, dsn: str) -> Iterator[Duties]:
    with Duties(dsn) as duties:
        yield duties


def study(ledger: Ledger, number: int, age: int, bad: tuple[str, int] = ("", 0)) -> str:
    """A verified study of two instances, all proofs `age` days old, one replica maybe bad."""
    ref, uid = f"st-{number:03d}", f"1.{number}"
    ledger.found(ref, "demo", "pacs", "hash", b"")
    made = [
        AnonymisedInstance(uid, f"{uid}.1", f"{uid}.1.{n}", "S", "CT", "", "a" * 64, 9, Path())
        for n in range(2)
    ]
    ledger.add_instances(ref, made)
    for state in WAY:
        ledger.advance(ref, StudyState(state))
    replicas = [("brno", 0), ("brno", 1), ("praha", 0)]
    proofs = [
        ReplicaProof(one.sop_uid, zone, "disk", replica, "a" * 64, (zone, replica) != bad)
        for one in made
        for zone, replica in replicas
    ]
    ledger.add_proofs(ref, proofs, NOW - timedelta(days=age))
    return ref


def test_damage_comes_first_then_what_is_overdue_then_a_share(
    ledger: Ledger, duties: Duties
) -> None:
    for number in range(20):
        study(ledger, number, age=number % 5)
    overdue, damaged = study(ledger, 20, age=9), study(ledger, 21, age=0, bad=("brno", 1))
    never = "st-022"
    study(ledger, 22, age=0)
    duties.forget_zone("demo", "praha")
    found = list(duties.tonight("demo", POLICY, NOW))
    assert {(d.ref, d.zone) for d in found if d.damaged} == {
        (damaged, "brno"),
        *((f"st-{n:03d}", "praha") for n in range(23)),
    }
    rest = [d for d in found if not d.damaged]
    assert rest[0].ref == overdue and never not in {d.ref for d in rest}
    assert len(rest) == 5  # a tenth of 46 duties
    assert [d.oldest for d in rest] == sorted(d.oldest for d in rest if d.oldest)


def test_everything_is_verified_again_within_the_interval(ledger: Ledger, duties: Duties) -> None:
    refs = {study(ledger, number, age=0) for number in range(12)}
    seen: dict[str, int] = {}
    nightly = []
    for day in range(POLICY.reverify_days):
        now = NOW + timedelta(days=day)
        tonight = list(duties.tonight("demo", POLICY, now))
        nightly.append(len(tonight))
        for duty in tonight:
            seen.setdefault(f"{duty.ref}{duty.zone}", day)
            proofs = [p for p in ledger.proofs(duty.ref) if p.zone == duty.zone]
            ledger.add_proofs(duty.ref, proofs, now)
    assert set(seen) == {f"{ref}{zone}" for ref in refs for zone in POLICY.copies}
    assert max(nightly) <= 3  # spread: 24 duties over ten nights


def test_a_missing_instance_is_not_made_up_for_by_another_one(
    ledger: Ledger, duties: Duties
) -> None:
    ref = study(ledger, 1, age=0)
    first, second = ledger.instances(ref)
    gone = ReplicaProof(first.sop_uid, "brno", "", -1, "", False)
    more = [ReplicaProof(second.sop_uid, "brno", "disk", n, "a" * 64, True) for n in range(4)]
    ledger.add_proofs(ref, [gone, *more], NOW)
    (duty,) = [d for d in duties.all("demo", POLICY) if d.damaged]
    assert (duty.zone, duty.lacking) == ("brno", 1)


def test_a_zone_that_is_away_is_asked_less_and_less(ledger: Ledger, duties: Duties) -> None:
    waits = []
    for _ in range(9):
        absence = duties.absent("praha", NOW)
        waits.append(absence.next_try - NOW)
    assert waits[:3] == [timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=20)]
    assert waits[-1] == timedelta(hours=6)
    assert set(duties.away(NOW)) == {"praha"} and not duties.away(NOW + timedelta(hours=7))
    duties.present("praha")
    assert not duties.absences()


def test_a_resource_is_suspect_when_an_object_goes_bad_there_again(
    ledger: Ledger, duties: Duties
) -> None:
    ref = study(ledger, 1, age=3)
    bad = [p for p in ledger.proofs(ref) if (p.zone, p.replica) == ("brno", 1)]
    broken = [ReplicaProof(p.sop_uid, p.zone, p.resource, 1, "", False) for p in bad]
    ledger.add_proofs(ref, broken, NOW)
    ledger.add_proofs(ref, broken, NOW + timedelta(days=1))  # still bad is not bad again
    assert not duties.suspects(["brno", "praha"])
    ledger.add_proofs(ref, bad, NOW + timedelta(days=1))
    ledger.add_proofs(ref, broken, NOW + timedelta(days=2))
    assert duties.suspects(["brno", "praha"]) == [("brno", "disk", 2)]


def test_an_interval_of_no_days_verifies_everything_each_night(
    ledger: Ledger, duties: Duties
) -> None:
    refs = {study(ledger, number, age=0) for number in range(3)}
    policy = POLICY.replace(reverify_days=0)
    assert {(d.ref, d.zone) for d in duties.tonight("demo", policy, NOW)} == {
        (ref, zone) for ref in refs for zone in POLICY.copies
    }


def test_what_is_deposited_is_owed_its_replicas_whatever_its_state(
    ledger: Ledger, duties: Duties
) -> None:
    held, found = study(ledger, 1, age=0), study(ledger, 2, age=0)
    ledger.hold(held, "conflict", "for the test")
    ledger.reopen(found)
    ledger.found("st-003", "demo", "pacs", "hash", b"")
    late = AnonymisedInstance("1.2", "1.2.1", "1.2.1.9", "S", "CT", "", "a" * 64, 9, Path())
    ledger.add_instances(found, [late])  # anonymised anew, not deposited yet
    duties.forget_zone("demo", "praha")
    assert {(d.ref, d.zone, d.lacking) for d in duties.all("demo", POLICY)} == {
        (ref, zone, 2 * (zone == "praha")) for ref in (held, found) for zone in POLICY.copies
    }
