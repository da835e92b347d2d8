"""Replicas and partner copies over the wire: proven, repaired, never spread when damaged."""

from __future__ import annotations

import pytest

from gridkit import SIZE, Grid
from pacsgrid.embedded.process import free_port
from pacsgrid.errors import ZoneUnavailable
from pacsgrid.grid import (
    Zone,
    copy_to_partner,
    deposit,
    object_path,
    repair,
    replicate_home,
    verify,
)
from pacsgrid.model import ZoneSettings


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
    flipped, gone = grid.vault_files(grid.home)[0], grid.vault_files(grid.home)[3]
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
    for path in grid.vault_files(grid.partner):
        path.write_bytes(b"\0" * SIZE)
    proofs = verify(grid.partner, "demo", grid.instances)
    assert not any(proof.good for proof in proofs)
    assert repair(grid.partner, "demo", proofs, grid.instances) == 0


def test_a_damaged_home_copy_does_not_reach_the_partner(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    for path in grid.vault_files(grid.home):
        path.write_bytes(b"\0" * SIZE)
    with pytest.raises(Exception, match="no longer has its checksum"):
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
        Zone(ZoneSettings("brno", "127.0.0.1", free_port(), "rods", "x")) as zone,
        pytest.raises(ZoneUnavailable, match="brno"),
    ):
        zone.ping()
