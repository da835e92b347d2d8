"""Administration: groups and their administrators, passwords, quotas, resources."""

from __future__ import annotations

import irods.exception as ex
import pytest
from irods.message import _do_GeneralAdminRequest as general_admin
from irods.models import Group, Quota, Resource, User, UserMeta, Zone
from irods.session import iRODSSession

from irods_zone import ZoneServer
from support.zone_client import login


@pytest.fixture
def groupadmin(zone: ZoneServer, rods: iRODSSession) -> iRODSSession:
    rods.users.create("gina", "groupadmin")
    rods.users.modify("gina", "password", "gina-secret")
    return login(zone, "gina", "gina-secret")


def members(session: iRODSSession, group: str) -> set[str]:
    return {m.name for m in session.groups.getmembers(group)}


def test_group_administrator(
    zone: ZoneServer, rods: iRODSSession, alice: iRODSSession, groupadmin: iRODSSession
) -> None:
    rods.groups.create("theirs")
    rods.groups.addmember("theirs", "rods")
    with groupadmin as gina:
        gina.groups.create("lab")
        gina.groups.addmember("lab", "gina")
        gina.groups.addmember("lab", "alice")
        gina.users.create_with_password("carl", "carl-secret")
        assert members(rods, "lab") == {"gina", "alice"}
        with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
            gina.groups.addmember("theirs", "gina")
        with pytest.raises(ex.SYS_NO_API_PRIV):
            gina.groups.remove("lab")
        gina.groups.removemember("lab", "alice")
    assert members(rods, "lab") == {"gina"}
    with login(zone, "carl", "carl-secret") as carl:
        assert carl.collections.exists("/brno/home/carl")
    with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
        alice.groups.create("no", group_admin=True)


def test_removing_a_user_leaves_nothing_behind(rods: iRODSSession, alice: iRODSSession) -> None:
    alice.data_objects.touch("/brno/home/alice/x")
    with pytest.raises(ex.CAT_COLLECTION_NOT_EMPTY):
        rods.users.remove("alice")
    alice.data_objects.unlink("/brno/home/alice/x", force=True)
    user = rods.users.get("alice")
    user.metadata.add("a", "v")
    user.modify("addAuth", "/CN=alice")
    assert user.dn == ["/CN=alice"]
    user.remove()
    assert not list(rods.query(UserMeta.name))
    assert not list(rods.query(Group.name).filter(User.name == "alice"))
    assert not rods.collections.exists("/brno/home/alice")


def test_temporary_passwords_work_once(
    zone: ZoneServer, rods: iRODSSession, alice: iRODSSession
) -> None:
    with alice.pool.get_connection() as connection:
        own = connection.temp_password()
    for password in (own, rods.users.get("alice").temp_password()):
        with login(zone, "alice", password) as session:
            session.collections.get("/brno/home/alice")
        with login(zone, "alice", password) as again, pytest.raises(ex.CAT_INVALID_AUTHENTICATION):
            again.collections.get("/brno/home/alice")
    with pytest.raises(ex.CAT_INSUFFICIENT_PRIVILEGE_LEVEL):
        alice.users.temp_password_for_user("rods")


def test_own_password(zone: ZoneServer, alice: iRODSSession) -> None:
    alice.users.modify_password("alice-secret", "another-secret")
    with login(zone, "alice", "another-secret") as session:
        assert session.collections.exists("/brno/home/alice")
    with login(zone, "alice", "alice-secret") as old, pytest.raises(ex.CAT_INVALID_AUTHENTICATION):
        old.collections.get("/brno")


def test_anonymous_needs_no_password_but_an_account(zone: ZoneServer, rods: iRODSSession) -> None:
    with login(zone, "anonymous", "") as nobody, pytest.raises(ex.CAT_INVALID_AUTHENTICATION):
        nobody.collections.get("/brno")
    rods.users.create("anonymous", "rodsuser")
    with login(zone, "anonymous", "") as nobody:
        assert nobody.collections.exists("/brno/home/anonymous")


def test_group_quota(rods: iRODSSession, alice: iRODSSession) -> None:
    group = rods.groups.create("lab")
    group.addmember("alice")
    rods.groups.set_quota("lab", 1000)
    rods.groups.set_quota("lab", 300, resource="demoResc")
    with alice.data_objects.open("/brno/home/alice/x", "w") as f:
        f.write(b"_" * 400)
    rods.groups.calculate_usage()
    found = {r[Quota.limit]: r[Quota.over] for r in rods.query(Quota)}
    assert found == {1000: -600, 300: 100}
    rods.groups.remove_quota("lab")
    assert [r[Quota.limit] for r in rods.query(Quota.limit)] == [300]


def test_zones(rods: iRODSSession) -> None:
    general_admin(rods, "add", "zone", "praha", "remote", "praha.example:1247", "the other")
    general_admin(rods, "modify", "zone", "praha", "comment", "the partner")
    assert {r[Zone.name] for r in rods.query(Zone.name)} == {"brno", "praha"}
    with pytest.raises(ex.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME):
        general_admin(rods, "add", "zone", "praha", "remote", "", "")
    general_admin(rods, "rm", "zone", "praha")
    with pytest.raises(ex.CAT_INVALID_ZONE):
        general_admin(rods, "rm", "zone", "brno")


def test_resources(rods: iRODSSession) -> None:
    resources = rods.resources
    resources.create("tree", "replication")
    for name in ("a", "b"):
        resources.create(name, "unixfilesystem", "localhost", f"/nowhere/{name}")
    resources.add_child("tree", "a")
    with pytest.raises(ex.iRODSException):
        resources.remove("tree")
    with pytest.raises(KeyError, match="-1812000"):  # CHILD_HAS_PARENT, unknown to the client
        resources.add_child("tree", "a")
    with rods.data_objects.open("/brno/home/rods/x", "w", destRescName="tree") as f:
        f.write(b"x")
    resources.add_child("tree", "b")
    resources.modify("tree", "rebalance", "")
    hierarchies = {r.resc_hier for r in rods.data_objects.get("/brno/home/rods/x").replicas}
    assert hierarchies == {"tree;a", "tree;b"}
    vaults = {r[Resource.vault_path] for r in rods.query(Resource.vault_path)}
    assert not any(v.startswith("/nowhere") for v in vaults)  # vaults stay in the zone's folder


def test_a_full_resource_takes_nothing(rods: iRODSSession) -> None:
    small = rods.resources.create("small", "unixfilesystem", "localhost", "/nowhere/small")
    small.modify("free_space", "1000")
    small.modify("context", "minimum_free_space_for_create_in_bytes=2000")
    with pytest.raises(ex.USER_FILE_TOO_LARGE):
        rods.data_objects.create("/brno/home/rods/x", resource="small")
    assert not rods.data_objects.exists("/brno/home/rods/x")


def test_resources_of_other_kinds_are_known_but_store_nothing(rods: iRODSSession) -> None:
    rods.resources.create("s3", "s3", "localhost", "/bucket", {"S3_PROTO": "HTTPS"})
    assert rods.resources.get("s3").context_fields == {"S3_PROTO": "HTTPS"}
    with pytest.raises(ex.HIERARCHY_ERROR):
        rods.data_objects.create("/brno/home/rods/x", resource="s3")
