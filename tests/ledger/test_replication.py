"""The planner: only what is missing or due, spread over nights; zones that are away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacsgrid.config import ReplicationPolicy
from pacsgrid.ledger import Ledger
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState

NOW = datetime(2030, 5, 1, tzinfo=UTC)
POLICY = ReplicationPolicy(zones={"brno": {"copies": 2}, "praha": {"copies": 1}}, reverify_days=10)
WAY = ("retrieved", "anonymised", "deposited", "replicated", "verified")


@pytest.fixture
def ledger(dsn: str) -> Ledger:
    return Ledger(dsn)


def study(ledger: Ledger, number: int, age: int, bad: tuple[str, int] = ("", 0)) -> str:
    """A verified study of two instances, all proofs `age` days old, one replica maybe bad."""
    ref, uid = f"st-{number:03d}", f"1.{number}"
    ledger.studies.add_found(ref, "demo", "pacs", "hash", b"")
    made = [
        AnonymisedInstance(uid, f"{uid}.1", f"{uid}.1.{n}", "S", "CT", "", "a" * 64, 9, Path())
        for n in range(2)
    ]
    ledger.instances.add(ref, made)
    for state in WAY:
        ledger.studies.advance(ref, StudyState(state))
    replicas = [("brno", 0), ("brno", 1), ("praha", 0)]
    proofs = [
        ReplicaProof(one.sop_uid, zone, "disk", replica, "a" * 64, (zone, replica) != bad)
        for one in made
        for zone, replica in replicas
    ]
    ledger.proofs.add(ref, proofs, NOW - timedelta(days=age))
    return ref


def test_damage_comes_first_then_what_is_overdue_then_a_share(ledger: Ledger) -> None:
    for number in range(20):
        study(ledger, number, age=number % 5)
    overdue, damaged = study(ledger, 20, age=9), study(ledger, 21, age=0, bad=("brno", 1))
    never = "st-022"
    study(ledger, 22, age=0)
    ledger.proofs.remove_zone("demo", "praha")
    found = list(ledger.tasks.due("demo", POLICY, NOW))
    assert {(d.ref, d.zone) for d in found if d.damaged} == {
        (damaged, "brno"),
        *((f"st-{n:03d}", "praha") for n in range(23)),
    }
    rest = [d for d in found if not d.damaged]
    assert rest[0].ref == overdue and never not in {d.ref for d in rest}
    assert len(rest) == 5  # a tenth of 46 duties
    assert [d.oldest for d in rest] == sorted(d.oldest for d in rest if d.oldest)


def test_everything_is_verified_again_within_the_interval(ledger: Ledger) -> None:
    refs = {study(ledger, number, age=0) for number in range(12)}
    seen: dict[str, int] = {}
    nightly = []
    for day in range(POLICY.reverify_days):
        now = NOW + timedelta(days=day)
        tonight = list(ledger.tasks.due("demo", POLICY, now))
        nightly.append(len(tonight))
        for duty in tonight:
            seen.setdefault(f"{duty.ref}{duty.zone}", day)
            proofs = [p for p in ledger.proofs.of_study(duty.ref) if p.zone == duty.zone]
            ledger.proofs.add(duty.ref, proofs, now)
    assert set(seen) == {f"{ref}{zone}" for ref in refs for zone in POLICY.copies}
    assert max(nightly) <= 3  # spread: 24 duties over ten nights


def test_a_missing_instance_is_not_made_up_for_by_another_one(ledger: Ledger) -> None:
    ref = study(ledger, 1, age=0)
    first, second = ledger.instances.of_study(ref)
    gone = ReplicaProof(first.sop_uid, "brno", "", -1, "", False)
    more = [ReplicaProof(second.sop_uid, "brno", "disk", n, "a" * 64, True) for n in range(4)]
    ledger.proofs.add(ref, [gone, *more], NOW)
    (duty,) = [d for d in ledger.tasks.all("demo", POLICY) if d.damaged]
    assert (duty.zone, duty.lacking) == ("brno", 1)


def test_a_zone_that_is_away_is_asked_less_and_less(ledger: Ledger) -> None:
    waits = []
    for _ in range(9):
        absence = ledger.absences.mark_absent("praha", NOW)
        waits.append(absence.next_try - NOW)
    assert waits[:3] == [timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=20)]
    assert waits[-1] == timedelta(hours=6)
    (absence,) = ledger.absences.all()
    assert absence.zone == "praha" and NOW < absence.next_try < NOW + timedelta(hours=7)
    ledger.absences.mark_present("praha")
    assert not ledger.absences.all()


def test_a_resource_is_suspect_when_an_object_goes_bad_there_again(ledger: Ledger) -> None:
    ref = study(ledger, 1, age=3)
    bad = [p for p in ledger.proofs.of_study(ref) if (p.zone, p.replica) == ("brno", 1)]
    broken = [ReplicaProof(p.sop_uid, p.zone, p.resource, 1, "", False) for p in bad]
    ledger.proofs.add(ref, broken, NOW)
    ledger.proofs.add(ref, broken, NOW + timedelta(days=1))  # still bad is not bad again
    assert not ledger.proofs.suspect_resources(["brno", "praha"])
    ledger.proofs.add(ref, bad, NOW + timedelta(days=1))
    ledger.proofs.add(ref, broken, NOW + timedelta(days=2))
    assert ledger.proofs.suspect_resources(["brno", "praha"]) == [("brno", "disk", 2)]


def test_an_interval_of_no_days_verifies_everything_each_night(ledger: Ledger) -> None:
    refs = {study(ledger, number, age=0) for number in range(3)}
    policy = POLICY.replace(reverify_days=0)
    assert {(d.ref, d.zone) for d in ledger.tasks.due("demo", policy, NOW)} == {
        (ref, zone) for ref in refs for zone in POLICY.copies
    }


def test_what_is_deposited_is_owed_its_replicas_whatever_its_state(ledger: Ledger) -> None:
    held, found = study(ledger, 1, age=0), study(ledger, 2, age=0)
    ledger.studies.hold(held, "conflict", "for the test")
    ledger.studies.reopen(found)
    ledger.studies.add_found("st-003", "demo", "pacs", "hash", b"")
    late = AnonymisedInstance("1.2", "1.2.1", "1.2.1.9", "S", "CT", "", "a" * 64, 9, Path())
    ledger.instances.add(found, [late])  # anonymised anew, not deposited yet
    ledger.proofs.remove_zone("demo", "praha")
    assert {(d.ref, d.zone, d.lacking) for d in ledger.tasks.all("demo", POLICY)} == {
        (ref, zone, 2 * (zone == "praha")) for ref in (held, found) for zone in POLICY.copies
    }
