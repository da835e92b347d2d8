"""What users of iRODS suffer from; each test names the threads that told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import irods.keywords as kw
import pytest
from irods.api_number import api_number
from irods.connection import Connection
from irods.exception import USER_CHKSUM_MISMATCH, iRODSException

from irods_zone import ZoneServer
from pacsgrid.config import ZoneSettings
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import ConflictError, ZoneError, ZoneUnavailableError
from pacsgrid.grid import Zone, deposit, object_path, study_collection, verify
from pacsgrid.grid.catalog import GOOD, CatalogReplica, replicas_below
from pacsgrid.grid.irods_requests import get_buffer, put_buffer
from pacsgrid.grid.layout import PARTIAL
from pacsgrid.grid.probe import probe
from pacsgrid.grid.repair import repair, set_replica_status
from pacsgrid.grid.sharing import share
from pacsgrid.grid.zone import TIMEOUT, bytes_checksum
from pacsgrid.model import AnonymisedInstance
from support.deposited_study import SIZE, Grid, make_instances


def replicas(zone: Zone, one: AnonymisedInstance) -> list[CatalogReplica]:
    study = study_collection(zone.settings.name, "demo", one.subject, one.study_uid)
    return replicas_below(zone, study)[object_path(zone.settings.name, "demo", one)]


def set_checksum(zone: Zone, replica: CatalogReplica, checksum: str) -> None:
    zone.session.data_objects.modDataObjMeta(
        {"objPath": replica.path, "replNum": replica.number, "rescHier": replica.resource},
        {"chksum": checksum, kw.ADMIN_KW: ""},
    )


def test_every_replica_has_a_checksum_not_the_first_alone(grid: Grid) -> None:
    # irods/irods#4106, #2451, #2935
    deposit(grid.home, "demo", grid.instances, {})
    one = grid.instances[0]
    assert all(replica.checksum for replica in replicas(grid.home, one))
    set_checksum(grid.home, replicas(grid.home, one)[1], "")
    assert all(proof.good for proof in verify(grid.home, "demo", grid.instances))
    assert all(replica.checksum for replica in replicas(grid.home, one))


@pytest.mark.parametrize("foreign", ["", "d41d8cd98f00b204e9800998ecf8427e"])
def test_a_checksum_of_another_scheme_is_no_conflict_and_no_proof(grid: Grid, foreign: str) -> None:
    # EUDAT-B2SAFE/B2SAFE-core#124
    deposit(grid.home, "demo", grid.instances, {})
    good, bad = grid.instances[:2]
    for one in (good, bad):
        for replica in replicas(grid.home, one):
            set_checksum(grid.home, replica, foreign)
    assert deposit(grid.home, "demo", [good], {}).skipped == 1
    for path in grid.files(grid.home, f"{bad.sop_uid}.dcm"):
        path.write_bytes(b"?" * SIZE)
    with pytest.raises(ConflictError):
        deposit(grid.home, "demo", [bad], {})
    proofs = verify(grid.home, "demo", [good, bad])
    assert {p.sop_uid for p in proofs if p.good} == {good.sop_uid}


def test_a_vault_file_that_is_gone_does_not_stay_good(grid: Grid) -> None:
    # irods/irods#3082
    deposit(grid.home, "demo", grid.instances, {})
    one = grid.instances[0]
    gone = grid.files(grid.home, f"{one.sop_uid}.dcm")[1]
    gone.unlink()
    assert [replica.status for replica in replicas(grid.home, one)] == [GOOD, GOOD]
    proofs = verify(grid.home, "demo", grid.instances)
    assert [(p.sop_uid, p.replica) for p in proofs if not p.good] == [(one.sop_uid, 1)]
    assert repair(grid.home, "demo", proofs, grid.instances).repaired == 1
    assert all(path.exists() for path in grid.files(grid.home, f"{one.sop_uid}.dcm"))
    assert all(proof.good for proof in verify(grid.home, "demo", grid.instances))


@pytest.mark.parametrize("status", ["0", "2", "4"])
def test_what_an_interrupted_put_left_is_swept_and_put_again(grid: Grid, status: str) -> None:
    # irods/irods#6154, #5742, #7934, #8253
    study = study_collection(grid.home.settings.name, "demo", "S1", "1.2")
    one = grid.instances[0]
    incoming = f"{study}/{one.series_uid}{PARTIAL}"
    grid.home.session.collections.create(incoming)
    half = f"{incoming}/{one.sop_uid}.dcm"
    put_buffer(grid.home, half, b"half", bytes_checksum(b"half"))
    for replica in replicas_below(grid.home, study)[half]:
        set_replica_status(grid.home, replica, status)
    deposit(grid.home, "demo", grid.instances, {})
    assert all(proof.good for proof in verify(grid.home, "demo", grid.instances))
    assert not any(PARTIAL in path for path in replicas_below(grid.home, study))


def test_a_put_with_another_checksum_leaves_nothing_under_a_name(grid: Grid) -> None:
    # irods/irods#5400, #5263
    path = f"/{grid.home.settings.name}/home/demo/data/x.part"
    with pytest.raises(USER_CHKSUM_MISMATCH):
        put_buffer(grid.home, path, b"one", bytes_checksum(b"two"))
    study = study_collection(grid.home.settings.name, "demo", "S1", "1.2")
    assert not replicas_below(grid.home, study)


def test_a_put_never_replaces_what_stands(grid: Grid) -> None:
    path = f"/{grid.home.settings.name}/home/demo/data/x.part"
    put_buffer(grid.home, path, b"one", bytes_checksum(b"one"))
    with pytest.raises(iRODSException):
        put_buffer(grid.home, path, b"two", bytes_checksum(b"two"))
    assert get_buffer(grid.home, path, 3) == b"one"


def test_replies_are_told_apart_after_an_error(grid: Grid) -> None:
    with Zone(grid.home.settings) as zone:
        room = f"/{zone.settings.name}/home/demo/data"
        with pytest.raises(USER_CHKSUM_MISMATCH):
            put_buffer(zone, f"{room}/bad.part", b"one", bytes_checksum(b"two"))
        put_buffer(zone, f"{room}/empty.part", b"", bytes_checksum(b""))
        put_buffer(zone, f"{room}/good.part", b"three", bytes_checksum(b"three"))
        assert get_buffer(zone, f"{room}/empty.part", 0) == b""
        assert get_buffer(zone, f"{room}/good.part", 5) == b"three"
        with pytest.raises(iRODSException):
            get_buffer(zone, f"{room}/good.part", 5, replica=7)
        assert get_buffer(zone, f"{room}/good.part", 5, replica=1) == b"three"
        assert len(zone.session.pool.idle) == 1


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """Counts the API requests that go over the wire."""
    seen: Counter[int] = Counter()
    send = Connection.send

    def counting(self: Connection, message: object) -> None:
        seen[getattr(message, "int_info", 0)] += 1
        send(self, message)

    monkeypatch.setattr(Connection, "send", counting)
    yield seen


def test_verification_asks_the_catalog_little_and_storage_once_a_replica(
    grid: Grid, requests: Counter[int]
) -> None:
    # irods/irods#3521
    many = make_instances(grid.dir / "many", 300, 64)
    deposit(grid.home, "demo", many, {})
    requests.clear()
    proofs = verify(grid.home, "demo", many)
    assert len(proofs) == 600 and all(proof.good for proof in proofs)
    storage = requests.pop(api_number["FILE_CHKSUM_AN"])
    assert storage == 600
    assert sum(requests.values()) < 0.2 * 300


def test_a_deposit_takes_two_round_trips_an_object_at_most(
    grid: Grid, requests: Counter[int]
) -> None:
    # irods/irods#3521
    many = make_instances(grid.dir / "many", 200, 64)
    deposit(grid.home, "demo", many, {})
    # The write and the close go together, nobody waits between them.
    for api in ("DATA_OBJ_OPEN_AN", "DATA_OBJ_WRITE_AN", "DATA_OBJ_CLOSE_AN"):
        assert requests.pop(api_number[api]) == 200
    assert sum(requests.values()) < 0.5 * 200


def test_no_connection_is_opened_beyond_those_asked_for_and_none_is_left(grid: Grid) -> None:
    # irods/irods_capability_automated_ingest#276, irods/python-irodsclient#619
    with Zone(grid.home.settings) as zone:
        for _ in range(3):
            deposit(zone, "demo", grid.instances, {}, connections=3)
            verify(zone, "demo", grid.instances, connections=3)
        pools = [zone.session.pool, zone._query_session.pool]
        assert len(pools[0].idle) <= 3 and len(pools[1].idle) == 1
        assert not any(pool.active for pool in pools)
    assert not any(pool.idle or pool.active for pool in pools)


def test_large_objects_are_given_the_time_they_need(grid: Grid) -> None:
    # irods/python-irodsclient#377
    with Zone(grid.home.settings) as zone:
        assert zone.session.connection_timeout == TIMEOUT
        zone.extend_timeout(100 << 30)
        assert zone.session.connection_timeout > 10_000


def test_a_server_that_was_restarted_is_not_away(tmp_path: Path) -> None:
    # galaxyproject/galaxy#10698
    port = reserve_port()

    def server() -> ZoneServer:
        return ZoneServer(zone="brno", directory=tmp_path, port=port, admin="rods", password="x")

    with Zone(
        ZoneSettings(name="brno", host="127.0.0.1", port=port, user="rods", password="x")
    ) as zone:
        with server():
            zone.ping()
        with server():
            zone.ping()
        with pytest.raises(ZoneUnavailableError):
            zone.ping()


def test_a_probe_moves_bytes_both_ways(grid: Grid) -> None:
    # UtrechtUniversity/yoda#82
    seen = probe(grid.home, "demo")
    assert (seen.replicas, seen.administrator) == (grid.home.settings.copies, True)
    room = f"/{grid.home.settings.name}/home/demo"
    assert not replicas_below(grid.home, room)
    with (
        Zone(grid.home.settings.replace(copies=5)) as greedy,
        pytest.raises(ZoneError, match="5 asked for"),
    ):
        probe(greedy, "demo")


def test_an_account_that_is_no_administrator_verifies_too(grid: Grid) -> None:
    # Storage is read by the checksum API then, which compares with the catalog.
    deposit(grid.home, "demo", grid.instances, {})
    user = grid.home.session.users.create("auditor", "rodsuser")
    try:
        user.modify("password", "secret-word")
        share(grid.home, "demo", ["auditor"])
        settings = grid.home.settings.replace(user="auditor", password="secret-word")
        with Zone(settings) as zone:
            assert all(proof.good for proof in verify(zone, "demo", grid.instances))
            grid.files(zone, f"{grid.instances[0].sop_uid}.dcm")[1].write_bytes(b"!" * SIZE)
            proofs = verify(zone, "demo", grid.instances)
            assert [(p.sop_uid, p.replica) for p in proofs if not p.good] == [
                (grid.instances[0].sop_uid, 1)
            ]
    finally:
        user.remove()
