"""Access by group, inherited; users of a partner zone; tickets that end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from irods.exception import (
    CAT_NO_ACCESS_PERMISSION,
    CollectionDoesNotExist,
    UserDoesNotExist,
    iRODSException,
)
from irods.session import iRODSSession
from irods.ticket import Ticket

from pacsgrid.errors import ConfigError, ZoneError
from pacsgrid.grid import Zone, deposit, study_collection
from pacsgrid.grid.fetch import fetch, stored_below
from pacsgrid.grid.sharing import issue_ticket, revoke_ticket, share, unshare
from support.deposited_study import SIZE, Grid


@pytest.fixture
def jana(grid: Grid) -> Iterator[Zone]:
    """A user of the partner zone, reached through her own zone."""
    user = grid.partner.session.users.create("jana", "rodsuser")
    user.modify("password", "secret-word")
    with Zone(grid.partner.settings.replace(user="jana", password="secret-word")) as zone:
        yield zone
    user.remove()


def readable_bytes(reader: Zone, collection: str) -> int | None:
    """Return the size of an object that the reader is shown and can read; None without any."""
    one = next(stored_below(reader, collection), None)
    if one is None:
        return None
    with reader.session.data_objects.open(one.path, "r", allow_redirect=False) as stream:
        return len(stream.read())


def test_a_user_of_a_partner_zone_reads_what_is_there_and_what_comes(
    grid: Grid, jana: Zone
) -> None:
    name = grid.home.settings.name
    data = f"/{name}/home/demo/data"
    deposit(grid.home, "demo", grid.instances[:3], {})
    member = f"jana#{grid.partner.settings.name}"
    for _ in range(2):
        assert share(grid.home, "demo", [member]) == "demo_readers"
    # irods/irods#7713: without rights on the collections above she would be shown nothing.
    assert readable_bytes(jana, data) == SIZE
    deposit(grid.home, "demo", grid.instances[3:], {})
    assert fetch(jana, data, grid.dir / "out").fetched == 6
    study = study_collection(name, "demo", "S1", "1.2")
    with pytest.raises((CAT_NO_ACCESS_PERMISSION, CollectionDoesNotExist)):
        jana.session.collections.remove(study, recurse=True, force=True)
    unshare(grid.home, "demo", member)
    assert readable_bytes(jana, data) is None
    with pytest.raises(ZoneError):
        fetch(jana, data, grid.dir / "none")


def test_an_unknown_user_of_the_zone_itself_is_told(grid: Grid) -> None:
    with pytest.raises(ConfigError, match="no user 'ghost'"):
        share(grid.home, "demo", ["ghost"])


def read_with(grid: Grid, ticket: str, path: str) -> bytes:
    settings = grid.home.settings
    with iRODSSession(
        host=settings.host, port=settings.port, user="anonymous", password="", zone=settings.name
    ) as session:
        Ticket(session, ticket).supply()
        with session.data_objects.open(path, "r", allow_redirect=False) as stream:
            content: bytes = stream.read()
    return content


def test_a_ticket_opens_a_collection_until_it_ends(grid: Grid) -> None:
    name = grid.home.settings.name
    users = grid.home.session.users
    try:
        users.get("anonymous")
    except UserDoesNotExist:
        users.create("anonymous", "rodsuser")
    deposit(grid.home, "demo", grid.instances, {})
    study = study_collection(name, "demo", "S1", "1.2")
    one = grid.instances[0]
    path = f"{study}/{one.series_uid}/{one.sop_uid}.dcm"
    ticket = issue_ticket(grid.home, study, datetime.now(UTC) + timedelta(days=1))
    assert read_with(grid, ticket, path) == one.path.read_bytes()
    revoke_ticket(grid.home, ticket)
    revoke_ticket(grid.home, ticket)
    with pytest.raises(iRODSException):
        read_with(grid, ticket, path)
    with pytest.raises(ConfigError, match="expired already"):
        issue_ticket(grid.home, study, datetime.now(UTC) - timedelta(seconds=1))
