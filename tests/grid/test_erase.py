"""A withdrawn subject is erased, also from the trash of other users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import irods.keywords as kw
import pytest
from irods.access import iRODSAccess

from pacsgrid.errors import ZoneError
from pacsgrid.grid import Zone, deposit
from pacsgrid.grid.erase import erase_subject
from pacsgrid.grid.fetch import stored_below
from support.deposited_study import Grid

MakeUser = Callable[[str], Zone]


@pytest.fixture
def make_user(grid: Grid) -> Iterator[MakeUser]:
    """Create users of the home zone, and reach the zone as them."""
    with ExitStack() as stack:

        def make(name: str) -> Zone:
            session, zone = grid.home.session, grid.home.settings.name
            user = session.users.create(name, "rodsuser")
            stack.callback(user.remove)
            trash = f"/{zone}/trash/home/{name}"
            stack.callback(session.collections.remove, trash, **{kw.ADMIN_RMTRASH_KW: ""})
            user.modify("password", "secret-word")
            return stack.enter_context(
                Zone(grid.home.settings.replace(user=name, password="secret-word"))
            )

        yield make


def allow(zone: Zone, access: str, path: str, user: str) -> None:
    zone.session.acls.set(
        iRODSAccess(access, path, user, zone.settings.name), recursive=True, admin=True
    )


def throw_away(grid: Grid, jana: Zone) -> str:
    """Deposit a subject that a user moves to her trash, where nobody else has access."""
    name = grid.home.settings.name
    deposit(grid.home, "demo", grid.instances, {})
    project = f"/{name}/home/demo"
    allow(grid.home, "own", project, "jana")
    jana.session.collections.remove(f"{project}/data/S1", recurse=True)
    trash = f"/{name}/trash/home/jana"
    allow(grid.home, "null", trash, grid.home.settings.user)
    assert len(list(stored_below(jana, trash))) == len(grid.instances)
    return trash


def sop_uids(grid: Grid) -> list[str]:
    return [one.sop_uid for one in grid.instances]


def test_a_subject_in_another_users_trash_is_erased(grid: Grid, make_user: MakeUser) -> None:
    jana = make_user("jana")
    trash = throw_away(grid, jana)
    report = erase_subject(grid.home, "demo", "S1", sop_uids(grid))
    assert report.objects == len(grid.instances)
    assert report.vault_files_gone == report.replicas
    assert not list(stored_below(jana, trash))
    assert not grid.vault_files(grid.home)
    assert erase_subject(grid.home, "demo", "S1", sop_uids(grid)).objects == 0


def test_an_account_that_may_not_is_told_what_to_do(grid: Grid, make_user: MakeUser) -> None:
    jana, service = make_user("jana"), make_user("service")
    trash = throw_away(grid, jana)
    allow(grid.home, "read", trash, "service")
    with pytest.raises(
        ZoneError, match=r"account service may not .* let a rodsadmin run `irmtrash -M`"
    ):
        erase_subject(service, "demo", "S1", sop_uids(grid))
    erase_subject(grid.home, "demo", "S1", sop_uids(grid))
