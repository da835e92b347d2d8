"""The grid over the wire, against two embedded zones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from irods.models import Collection

from pacsgrid.embedded.process import free_port
from pacsgrid.embedded.zone import ZoneServer
from pacsgrid.errors import ConflictError, ZoneUnavailable
from pacsgrid.grid import (
    Zone,
    copy_to_partner,
    deposit,
    ensure_project,
    object_path,
    put_text,
    repair,
    replicate_home,
    study_collection,
    verify,
)
from pacsgrid.grid.admin import prepare_zone
from pacsgrid.model import AVU, AnonymisedInstance, ZoneSettings

SIZE = 4321


@dataclass
class Grid:
    home: Zone
    partner: Zone
    dir: Path
    instances: list[AnonymisedInstance]

    def vault_files(self, zone: str) -> list[Path]:
        files = (self.dir / zone).rglob("*")
        return sorted(p for p in files if p.is_file() and p.stat().st_size == SIZE)


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    instances = []
    for number in range(6):
        data = os.urandom(SIZE)
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        series = f"1.2.{number % 2}"
        instances.append(
            AnonymisedInstance("1.2", series, f"1.{number}", "S1", "CT", "", digest, SIZE, path)
        )
    with (
        ZoneServer(
            zone="brno", directory=tmp_path / "brno", port=0, admin="rods", password="x"
        ) as brno,
        ZoneServer(
            zone="praha", directory=tmp_path / "praha", port=0, admin="rods", password="x"
        ) as praha,
        Zone(ZoneSettings("brno", "127.0.0.1", brno.port, "rods", "x", "root", 2)) as home,
        Zone(ZoneSettings("praha", "127.0.0.1", praha.port, "rods", "x")) as partner,
    ):
        for _ in range(2):
            prepare_zone(home, {"root": ["disk1", "disk2"]}, str(tmp_path / "vaults"))
        for zone in (home, partner):
            ensure_project(zone, "demo")
        yield Grid(home, partner, tmp_path, instances)


def test_deposit_puts_once_with_its_avus(grid: Grid) -> None:
    study = study_collection("brno", "demo", "S1", "1.2")
    avus = {study: [AVU("Modality", "CT"), AVU("pacsgrid.subject", "S1")]}
    first = deposit(grid.home, "demo", grid.instances, avus)
    again = deposit(grid.home, "demo", grid.instances, avus)
    assert (first.put, first.skipped, first.bytes) == (6, 0, 6 * SIZE)
    assert (again.put, again.skipped) == (0, 6)
    have = grid.home.session.metadata.get(Collection, study)
    assert sorted((m.name, m.value) for m in have) == [
        ("Modality", "CT"),
        ("pacsgrid.subject", "S1"),
    ]


def test_a_differing_object_is_never_overwritten(grid: Grid) -> None:
    path = object_path("brno", "demo", grid.instances[0])
    grid.home.session.collections.create(path.rsplit("/", 1)[0])
    put_text(grid.home, path, b"someone else's")
    with pytest.raises(ConflictError, match="nothing was overwritten"):
        deposit(grid.home, "demo", grid.instances, {})
    with grid.home.session.data_objects.open(path, "r") as stream:
        assert stream.read() == b"someone else's"


def test_what_an_interrupted_deposit_left_is_swept(grid: Grid) -> None:
    path = object_path("brno", "demo", grid.instances[0])
    grid.home.session.collections.create(path.rsplit("/", 1)[0])
    put_text(grid.home, path + ".part", b"half")
    assert deposit(grid.home, "demo", grid.instances, {}).put == 6
    assert not grid.home.session.data_objects.exists(path + ".part")


def test_replicas_at_home_and_a_copy_at_the_partner_are_proven(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    assert replicate_home(grid.home, "demo", grid.instances) == 0
    assert copy_to_partner(grid.home, grid.partner, "demo", grid.instances) == 6
    assert copy_to_partner(grid.home, grid.partner, "demo", grid.instances) == 0
    home = verify(grid.home, "demo", grid.instances)
    partner = verify(grid.partner, "demo", grid.instances)
    assert len(home) == 12 and len(partner) == 6
    assert all(proof.good for proof in home + partner)


def test_damage_is_found_and_repaired_from_the_good_replica(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    flipped, gone = grid.vault_files("brno")[0], grid.vault_files("brno")[3]
    data = bytearray(flipped.read_bytes())
    data[100] ^= 1
    flipped.write_bytes(data)
    gone.unlink()
    proofs = verify(grid.home, "demo", grid.instances)
    assert sum(not proof.good for proof in proofs) == 2
    assert repair(grid.home, "demo", proofs, grid.instances) == 2
    proofs = verify(grid.home, "demo", grid.instances)
    assert len(proofs) == 12 and all(proof.good for proof in proofs)


def test_nothing_is_repaired_from_nothing(grid: Grid) -> None:
    deposit(grid.partner, "demo", grid.instances, {})
    for path in grid.vault_files("praha"):
        path.write_bytes(b"\0" * SIZE)
    proofs = verify(grid.partner, "demo", grid.instances)
    assert not any(proof.good for proof in proofs)
    assert repair(grid.partner, "demo", proofs, grid.instances) == 0


def test_a_damaged_home_copy_does_not_reach_the_partner(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    for path in grid.vault_files("brno"):
        path.write_bytes(b"\0" * SIZE)
    with pytest.raises(Exception, match="no longer has its checksum"):
        copy_to_partner(grid.home, grid.partner, "demo", grid.instances)
    assert not any(
        grid.partner.session.data_objects.exists(object_path("praha", "demo", one))
        for one in grid.instances
    )


def test_an_absent_object_is_no_proof(grid: Grid) -> None:
    proofs = verify(grid.home, "demo", grid.instances)
    assert len(proofs) == 6 and not any(proof.good for proof in proofs)


def test_a_zone_that_is_down_may_be_tried_again() -> None:
    with (
        Zone(ZoneSettings("brno", "127.0.0.1", free_port(), "rods", "x")) as zone,
        pytest.raises(ZoneUnavailable, match="brno"),
    ):
        zone.ping()
