"""Replicas and partner copies over the wire: proven, repaired, never spread when damaged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import irods.keywords as kw
import pytest

from pacsgrid.config import ZoneSettings
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import ZoneUnavailableError
from pacsgrid.grid import (
    Zone,
    copy_to_partner,
    deposit,
    object_path,
    put_document,
    remove_object,
    repair,
    repair_documents,
    replicate_within_zone,
    restore_objects,
    study_collection,
    verify,
)
from pacsgrid.grid.catalog import replicas_below
from pacsgrid.grid.repair import set_replica_status
from pacsgrid.grid.zone import irods_checksum
from pacsgrid.model import AnonymisedInstance
from support.deposited_study import SIZE, Grid, make_instances


def test_replicas_at_home_and_a_copy_at_the_partner_are_proven(grid: Grid) -> None:
    # irods/irods#2334: zones do not replicate to each other; the partner's copies are objects.
    deposit(grid.home, "demo", grid.instances, {})
    assert replicate_within_zone(grid.home, "demo", grid.instances) == 0
    assert copy_to_partner(grid.home, grid.partner, "demo", grid.instances) == 6
    assert copy_to_partner(grid.home, grid.partner, "demo", grid.instances) == 0
    home = verify(grid.home, "demo", grid.instances)
    partner = verify(grid.partner, "demo", grid.instances)
    assert len(home) == 12 and len(partner) == 6
    assert all(proof.good for proof in home + partner)


def test_damage_is_found_and_repaired_from_the_good_replica(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    flipped, gone = grid.vault_files(grid.home)[0], grid.vault_files(grid.home)[3]
    data = bytearray(flipped.read_bytes())
    data[100] ^= 1
    flipped.write_bytes(data)
    gone.unlink()
    proofs = verify(grid.home, "demo", grid.instances)
    assert sum(not proof.good for proof in proofs) == 2
    assert repair(grid.home, "demo", proofs, grid.instances).repaired == 2
    proofs = verify(grid.home, "demo", grid.instances)
    assert len(proofs) == 12 and all(proof.good for proof in proofs)


def test_nothing_is_repaired_from_nothing(grid: Grid) -> None:
    deposit(grid.partner, "demo", grid.instances, {})
    for path in grid.vault_files(grid.partner):
        path.write_bytes(b"\0" * SIZE)
    proofs = verify(grid.partner, "demo", grid.instances)
    assert not any(proof.good for proof in proofs)
    done = repair(grid.partner, "demo", proofs, grid.instances)
    assert done.repaired == 0 and len(done.lost) == 6


def test_a_damaged_home_copy_does_not_reach_the_partner(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    for path in grid.vault_files(grid.home):
        path.write_bytes(b"\0" * SIZE)
    with pytest.raises(Exception, match="another checksum"):
        copy_to_partner(grid.home, grid.partner, "demo", grid.instances)
    assert not any(
        grid.partner.session.data_objects.exists(
            object_path(grid.partner.settings.name, "demo", one)
        )
        for one in grid.instances
    )


def test_an_absent_object_is_no_proof(grid: Grid) -> None:
    proofs = verify(grid.home, "demo", grid.instances)
    assert len(proofs) == 6 and not any(proof.good for proof in proofs)


def test_a_zone_that_is_down_may_be_tried_again() -> None:
    with (
        Zone(
            ZoneSettings(
                name="brno", host="127.0.0.1", port=reserve_port(), user="rods", password="x"
            )
        ) as zone,
        pytest.raises(ZoneUnavailableError, match="brno"),
    ):
        zone.ping()


def status_of(zone: Zone, one: AnonymisedInstance) -> list[str]:
    study = study_collection(zone.settings.name, "demo", one.subject, one.study_uid)
    path = object_path(zone.settings.name, "demo", one)
    return [replica.status for replica in replicas_below(zone, study)[path]]


def set_status(zone: Zone, one: AnonymisedInstance, number: int, status: str) -> None:
    study = study_collection(zone.settings.name, "demo", one.subject, one.study_uid)
    path = object_path(zone.settings.name, "demo", one)
    (replica,) = [r for r in replicas_below(zone, study)[path] if r.number == number]
    set_replica_status(zone, replica, status)


def test_a_stale_replica_is_no_proof_and_is_renewed(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    set_status(grid.home, grid.instances[0], 1, "0")
    proofs = verify(grid.home, "demo", grid.instances)
    assert sum(not proof.good for proof in proofs) == 1
    assert repair(grid.home, "demo", proofs, grid.instances).repaired == 1
    assert all(proof.good for proof in verify(grid.home, "demo", grid.instances))


def test_right_bytes_that_the_catalog_calls_stale_save_the_object(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    one = grid.instances[0]
    grid.files(grid.home, f"{one.sop_uid}.dcm")[0].write_bytes(b"x" * SIZE)
    set_status(grid.home, one, 1, "0")  # what is left is the damaged one alone
    proofs = verify(grid.home, "demo", grid.instances)
    assert not any(proof.good for proof in proofs if proof.sop_uid == one.sop_uid)
    repair(grid.home, "demo", proofs, grid.instances)
    assert all(proof.good for proof in verify(grid.home, "demo", grid.instances))
    assert status_of(grid.home, one) == ["1", "1"]


@pytest.mark.parametrize("status", ["2", "3", "4"])
def test_a_replica_being_written_is_left_until_it_is_abandoned(grid: Grid, status: str) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    one = grid.instances[0]
    set_status(grid.home, one, 1, status)
    proofs = verify(grid.home, "demo", grid.instances)
    assert repair(grid.home, "demo", proofs, grid.instances).busy == [one.sop_uid]
    later = datetime.now(UTC) + timedelta(days=2)
    assert repair(grid.home, "demo", proofs, grid.instances, later).repaired == 1
    assert all(proof.good for proof in verify(grid.home, "demo", grid.instances))


def test_verification_does_not_bless_damage_in_the_catalog(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    for path in grid.vault_files(grid.home):
        path.write_bytes(b"y" * SIZE)
    for _ in range(2):
        assert not any(proof.good for proof in verify(grid.home, "demo", grid.instances))


def test_what_home_lost_comes_back_from_the_partner(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    copy_to_partner(grid.home, grid.partner, "demo", grid.instances)
    gone = object_path(grid.home.settings.name, "demo", grid.instances[1])
    grid.home.session.data_objects.unlink(gone, force=True)
    for path in grid.files(grid.home, f"{grid.instances[2].sop_uid}.dcm"):
        path.write_bytes(b"z" * SIZE)
    lost = grid.instances[1:3]
    assert len(restore_objects(grid.partner, grid.home, "demo", lost)) == 2
    proofs = verify(grid.home, "demo", grid.instances)
    assert len(proofs) == 12 and all(proof.good for proof in proofs)


def test_answers_of_many_pages_are_whole_with_many_connections(grid: Grid) -> None:
    # python-irodsclient asks for a page on any idle connection, and the pages belong to one.
    many = make_instances(grid.dir / "many", 600, 16)
    deposit(grid.home, "demo", many, {})
    assert deposit(grid.home, "demo", many, {}).skipped == 600


def test_documents_are_mended_like_instances(grid: Grid) -> None:
    collection = f"/{grid.home.settings.name}/home/demo/data"
    for name in ("whole", "half", "gone"):
        put_document(grid.home, f"{collection}/{name}.json", name.encode() * 100)
    grid.files(grid.home, "half.json")[0].write_bytes(b"other")
    for path in grid.files(grid.home, "gone.json"):
        path.write_bytes(b"other")
    done = repair_documents(grid.home, collection)
    assert (done.repaired, done.lost) == (1, [f"{collection}/gone.json"])
    remove_object(grid.home, f"{collection}/gone.json")
    done = repair_documents(grid.home, collection)
    assert (done.repaired, done.lost) == (0, [])
    with grid.home.session.data_objects.open(f"{collection}/half.json", "r") as stream:
        assert stream.read() == b"half" * 100


def test_a_replica_that_is_missing_is_made_on_another_branch(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    name = grid.home.settings.name
    paths = [object_path(name, "demo", one) for one in grid.instances[:2]]
    for number, path in enumerate(paths):
        trim = {kw.REPL_NUM_KW: str(number), kw.COPIES_KW: "1"}
        grid.home.session.data_objects.trim(path, **trim)
    assert len(verify(grid.home, "demo", grid.instances)) == 10
    assert replicate_within_zone(grid.home, "demo", grid.instances) == 2
    assert replicate_within_zone(grid.home, "demo", grid.instances) == 0
    proofs = verify(grid.home, "demo", grid.instances)
    assert len(proofs) == 12 and all(proof.good for proof in proofs)
    assert len({(proof.sop_uid, proof.resource) for proof in proofs}) == 12


def test_what_the_server_unpacks_has_every_replica_and_checksum(bundling: Grid) -> None:
    many = make_instances(bundling.dir / "many", 24)
    deposit(bundling.home, "demo", many, {})
    study = study_collection(bundling.home.settings.name, "demo", "S1", "1.2")
    there = replicas_below(bundling.home, study)
    assert len(there) == 24
    for one in many:
        replicas = there[object_path(bundling.home.settings.name, "demo", one)]
        assert [replica.resource for replica in replicas] == ["pair;disk1", "pair;disk2"]
        assert {replica.checksum for replica in replicas} == {irods_checksum(one.sha256)}
        assert all(Path(replica.file).read_bytes() == one.path.read_bytes() for replica in replicas)
    proofs = verify(bundling.home, "demo", many)
    assert len(proofs) == 48 and all(proof.good for proof in proofs)
