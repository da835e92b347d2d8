"""Deposit over the wire: put once, proven, resumable, never over something else."""

from __future__ import annotations

from dataclasses import replace

import irods.keywords as kw
import pytest
from irods.models import Collection

from pacsgrid.errors import ConflictError, ZoneError
from pacsgrid.grid import deposit, object_path, put_document, study_collection, verify
from pacsgrid.grid.catalog import replicas_below
from pacsgrid.grid.irods_requests import put_buffer
from pacsgrid.grid.zone import bytes_checksum
from pacsgrid.model import AVU
from support.deposited_study import SIZE, Grid, make_instances


def names(grid: Grid) -> set[str]:
    """Every data object below the project's data, by its path from the study down."""
    root = study_collection(grid.home.settings.name, "demo", "S1", "1.2")
    top = grid.home.session.collections.get(root)
    return {
        f"{coll.path}/{one.name}".removeprefix(root + "/")
        for coll, _, objects in top.walk()
        for one in objects
    }


def expected(grid: Grid) -> set[str]:
    return {f"{one.series_uid}/{one.sop_uid}.dcm" for one in grid.instances}


def proven(grid: Grid) -> bool:
    proofs = verify(grid.home, "demo", grid.instances)
    wanted = grid.home.settings.copies * len(grid.instances)
    return len(proofs) == wanted and all(proof.good for proof in proofs)


def test_deposit_puts_once_with_its_avus(grid: Grid) -> None:
    study = study_collection(grid.home.settings.name, "demo", "S1", "1.2")
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
    assert names(grid) == expected(grid)


def test_a_bundle_leaves_the_same_objects_as_single_puts(bundling: Grid) -> None:
    bundling.instances = make_instances(bundling.dir / "many", 24)
    assert deposit(bundling.home, "demo", bundling.instances, {}).put == 24
    assert names(bundling) == expected(bundling)
    assert proven(bundling)


def test_objects_of_an_interrupted_bundle_are_proven_before_they_are_named(bundling: Grid) -> None:
    bundling.instances = make_instances(bundling.dir / "many", 24)
    study = study_collection(bundling.home.settings.name, "demo", "S1", "1.2")
    bundling.home.session.collections.create(f"{study}/1.2.0.part")
    # As a tar unpacked before the cut would leave it: no checksum, and one of them is wrong.
    for one, data in (
        (bundling.instances[0], bundling.instances[0].path.read_bytes()),
        (bundling.instances[2], b"\0" * SIZE),
    ):
        with bundling.home.session.data_objects.open(
            f"{study}/1.2.0.part/{one.sop_uid}.dcm", "w", rescName=bundling.home.settings.resource
        ) as stream:
            stream.write(data)
    # A zone with our policy has given them one.
    for replica in (r for found in replicas_below(bundling.home, study).values() for r in found):
        bundling.home.session.data_objects.modDataObjMeta(
            {"objPath": replica.path, "replNum": replica.number, "rescHier": replica.resource},
            {"chksum": "", kw.ADMIN_KW: ""},
        )
    with pytest.raises(Exception, match="arrived damaged"):
        deposit(bundling.home, "demo", bundling.instances, {})
    assert not any(name.endswith(".dcm") and ".part" not in name for name in names(bundling))
    assert deposit(bundling.home, "demo", bundling.instances, {}).put == 24
    assert names(bundling) == expected(bundling)
    assert proven(bundling)


def test_large_objects_go_in_parallel_streams(grid: Grid) -> None:
    grid.instances = make_instances(grid.dir / "large", 1, 40 << 20)
    assert deposit(grid.home, "demo", grid.instances, {}).put == 1
    assert proven(grid)


def test_a_series_that_grew_gets_only_what_is_new(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances[:3], {})
    assert deposit(grid.home, "demo", grid.instances, {}).put == 3
    assert names(grid) == expected(grid)
    assert proven(grid)


def test_a_differing_object_is_never_overwritten(grid: Grid) -> None:
    path = object_path(grid.home.settings.name, "demo", grid.instances[0])
    grid.home.session.collections.create(path.rsplit("/", 1)[0])
    put_document(grid.home, path, b"someone else's")
    with pytest.raises(ConflictError, match="nothing was overwritten"):
        deposit(grid.home, "demo", grid.instances, {})
    with grid.home.session.data_objects.open(path, "r") as stream:
        assert stream.read() == b"someone else's"


def test_what_an_interrupted_deposit_left_is_used_or_swept(grid: Grid) -> None:
    study = study_collection(grid.home.settings.name, "demo", "S1", "1.2")
    incoming = f"{study}/1.2.0.part"
    grid.home.session.collections.create(incoming)
    half, whole = grid.instances[0], grid.instances[2]
    put_buffer(grid.home, f"{incoming}/{half.sop_uid}.dcm", b"half", bytes_checksum(b"half"))
    data = whole.path.read_bytes()
    put_buffer(grid.home, f"{incoming}/{whole.sop_uid}.dcm", data, bytes_checksum(data))
    put_buffer(grid.home, f"{incoming}/bundle0.tar", b"tar", bytes_checksum(b"tar"))
    whole.path.unlink()  # it need not be read again
    deposit(grid.home, "demo", grid.instances, {})
    assert names(grid) == expected(grid)
    assert proven(grid)


def test_a_file_damaged_in_the_outbox_never_gets_a_name(grid: Grid) -> None:
    bad = grid.instances[1]
    bad.path.write_bytes(b"\1" * SIZE)
    with pytest.raises(ZoneError, match="changed after it left the anonymiser"):
        deposit(grid.home, "demo", grid.instances, {})
    final = object_path(grid.home.settings.name, "demo", bad)
    assert not grid.home.session.data_objects.exists(final)


def test_a_checksum_of_ours_that_is_wrong_is_a_conflict(grid: Grid) -> None:
    deposit(grid.home, "demo", grid.instances, {})
    other = [replace(grid.instances[0], sha256="0" * 64)]
    with pytest.raises(ConflictError):
        deposit(grid.home, "demo", other, {})
