"""Tickets: what they give access to, and every limit."""

from __future__ import annotations

import time

import irods.exception as ex
import pytest
from irods.models import DataObject, TicketQuery
from irods.session import iRODSSession
from irods.ticket import Ticket

from irods_zone.error_codes import ErrorCode

HOME = "/brno/home/alice"


def write(session: iRODSSession, path: str, data: bytes) -> None:
    with session.data_objects.open(path, "w") as f:
        f.write(data)


def read(session: iRODSSession, path: str) -> bytes:
    with session.data_objects.open(path, "r") as f:
        return bytes(f.read())


def refused(code: int) -> pytest.RaisesExc[KeyError]:
    """The client has no exception for these codes and looks them up in vain."""
    return pytest.raises(KeyError, match=str(code))


@pytest.fixture
def path(alice: iRODSSession) -> str:
    write(alice, f"{HOME}/x", b"abc")
    write(alice, f"{HOME}/y", b"other")
    return f"{HOME}/x"


def use(session: iRODSSession, ticket: Ticket) -> None:
    """Have a session's next connection use a ticket."""
    session.cleanup()
    Ticket(session, ticket.string).supply()


def test_object_ticket_lends_reading_of_that_object(
    alice: iRODSSession, bob: iRODSSession, path: str
) -> None:
    with pytest.raises(ex.OBJ_PATH_DOES_NOT_EXIST):
        read(bob, path)
    use(bob, Ticket(alice).issue("read", path))
    assert read(bob, path) == b"abc"
    assert [r[DataObject.name] for r in bob.query(DataObject.name)] == ["x"]
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        write(bob, path, b"no")
    with pytest.raises(ex.OBJ_PATH_DOES_NOT_EXIST):
        read(bob, f"{HOME}/y")
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        bob.data_objects.unlink(path, force=True)


def test_collection_ticket_lends_writing_below(
    alice: iRODSSession, bob: iRODSSession, path: str
) -> None:
    alice.collections.create(f"{HOME}/sub")
    use(bob, Ticket(alice).issue("write", HOME))
    write(bob, path, b"changed")
    write(bob, f"{HOME}/sub/new", b"made")
    assert read(alice, path) == b"changed"
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        write(bob, "/brno/home/rods/new", b"no")


def test_uses_and_writes_are_counted(alice: iRODSSession, bob: iRODSSession, path: str) -> None:
    ticket = Ticket(alice).issue("write", path)
    ticket.modify("uses", "3")
    ticket.modify("write-file", "1")
    use(bob, ticket)
    write(bob, path, b"1")
    with refused(ErrorCode.CAT_TICKET_WRITE_USES_EXCEEDED):
        write(bob, path, b"2")
    read(bob, path)
    read(bob, path)
    with pytest.raises(ex.CAT_TICKET_USES_EXCEEDED):
        read(bob, path)
    assert read(alice, path) == b"1"  # the owner needs no ticket


def test_bytes_are_counted(alice: iRODSSession, bob: iRODSSession, path: str) -> None:
    ticket = Ticket(alice).issue("write", path)
    ticket.modify("write-bytes", "10")
    use(bob, ticket)
    write(bob, path, b"8 bytes.")
    with refused(ErrorCode.CAT_TICKET_WRITE_BYTES_EXCEEDED):
        write(bob, path, b"8 bytes.")


def test_users_groups_and_hosts(
    rods: iRODSSession, alice: iRODSSession, bob: iRODSSession, path: str
) -> None:
    rods.groups.create("lab")
    for kind, name, code in (
        ("user", "rods", ErrorCode.CAT_TICKET_USER_EXCLUDED),
        ("host", "192.0.2.1", ErrorCode.CAT_TICKET_HOST_EXCLUDED),
        ("group", "lab", ErrorCode.CAT_TICKET_GROUP_EXCLUDED),
    ):
        ticket = Ticket(alice).issue("read", path)
        ticket.modify("add", kind, name)
        use(bob, ticket)
        with refused(code):
            read(bob, path)
    rods.groups.addmember("lab", "bob")
    assert read(bob, path) == b"abc"
    ticket.modify("remove", "group", "lab")
    rods.groups.removemember("lab", "bob")
    assert read(bob, path) == b"abc"


def test_expired_and_deleted(alice: iRODSSession, bob: iRODSSession, path: str) -> None:
    ticket = Ticket(alice).issue("read", path)
    ticket.modify("expire", str(int(time.time()) - 5))
    use(bob, ticket)
    with pytest.raises(ex.CAT_TICKET_EXPIRED):
        read(bob, path)
    ticket.modify("expire", "2100-01-01.00:00:00")
    assert read(bob, path) == b"abc"
    ticket.delete()
    with pytest.raises(ex.OBJ_PATH_DOES_NOT_EXIST):
        read(bob, path)


def test_only_the_maker_sees_and_changes_a_ticket(
    rods: iRODSSession, alice: iRODSSession, bob: iRODSSession, path: str
) -> None:
    ticket = Ticket(alice).issue("read", path)
    found = list(alice.query(TicketQuery.Ticket.string, TicketQuery.DataObject.name))
    assert [r[TicketQuery.DataObject.name] for r in found] == ["x"]
    assert not list(bob.query(TicketQuery.Ticket.string))
    with pytest.raises(ex.CAT_TICKET_INVALID):
        Ticket(bob, ticket.string).delete()
    with pytest.raises(ex.CAT_NO_ACCESS_PERMISSION):
        Ticket(bob).issue("read", path)
    Ticket(rods, ticket.string).delete(irodsAdmin="")
    assert not list(alice.query(TicketQuery.Ticket.string))
