"""Tickets of a release: they open what it lists and nothing else, and end together."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from irods.exception import UserDoesNotExist, iRODSException
from irods.models import TicketQuery
from irods.session import iRODSSession
from irods.ticket import Ticket

from pacsgrid.errors import ConfigError, ZoneError
from pacsgrid.grid import Zone, deposit, ensure_collection, put_document, study_collection
from pacsgrid.grid.erase import erase_subject
from pacsgrid.grid.release_tickets import (
    ReleaseTickets,
    fetch_script,
    issue_release_tickets,
    revoke_tickets,
    revoke_tickets_below,
)
from pacsgrid.grid.sharing import issue_ticket
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pipeline.release_documents import ReleaseVersion, release_documents
from support import iget_double
from support.deposited_study import SIZE, Grid, make_instances

DAY = timedelta(days=1)


def study(grid: Grid, subject: str, uid: str) -> list[AnonymisedInstance]:
    made = make_instances(grid.dir / uid, 2)
    return [
        replace(one, subject=subject, study_uid=uid, series_uid=f"{uid}.1", sop_uid=f"{uid}.1.{n}")
        for n, one in enumerate(made)
    ]


@pytest.fixture
def instances(grid: Grid) -> list[AnonymisedInstance]:
    """Two studies that are released and one that is not."""
    found = [*study(grid, "S1", "1.2.1"), *study(grid, "S2", "1.2.2"), *study(grid, "S3", "1.2.3")]
    for one in ("1.2.1", "1.2.2", "1.2.3"):
        deposit(grid.home, "demo", [i for i in found if i.study_uid == one], {})
    return found


@pytest.fixture
def released(grid: Grid, instances: list[AnonymisedInstance]) -> str:
    version = ReleaseVersion(grid.home.settings.name, "demo", "heads", 1, "", instances[:4])
    ensure_collection(grid.home, version.collection)
    for name, text in release_documents(version).items():
        put_document(grid.home, f"{version.collection}/{name}", text)
    return version.collection


@pytest.fixture(autouse=True)
def anonymous(grid: Grid) -> Iterator[None]:
    """The account that somebody without one uses; no ticket is left by the test."""
    try:
        grid.home.session.users.get("anonymous")
    except UserDoesNotExist:
        grid.home.session.users.create("anonymous", "rodsuser")
    yield
    revoke_tickets_below(grid.home, f"/{grid.home.settings.name}/home/demo")


def path_of(grid: Grid, one: AnonymisedInstance) -> str:
    place = study_collection(grid.home.settings.name, "demo", one.subject, one.study_uid)
    return f"{place}/{one.series_uid}/{one.sop_uid}.dcm"


def read_with(zone: Zone, ticket: str, path: str) -> bytes:
    settings = zone.settings
    with iRODSSession(
        host=settings.host, port=settings.port, user="anonymous", password="", zone=settings.name
    ) as session:
        Ticket(session, ticket).supply()
        with session.data_objects.open(path, "r", allow_redirect=False) as stream:
            content: bytes = stream.read()
    return content


def strings(zone: Zone) -> set[str]:
    return {row[TicketQuery.Ticket.string] for row in zone.rows((TicketQuery.Ticket.string,))}


def test_its_bearer_reads_documents_and_images_of_the_release_alone(
    grid: Grid, instances: list[AnonymisedInstance], released: str
) -> None:
    tickets = issue_release_tickets(grid.home, released, datetime.now(UTC) + DAY)
    assert sorted(tickets.studies) == ["data/S1/1.2.1", "data/S2/1.2.2"]
    listed = json.loads(read_with(grid.home, tickets.name, f"{released}/manifest.json"))
    assert len(listed["objects"]) == 4
    for one in instances[:4]:
        ticket = tickets.studies[f"data/{one.subject}/{one.study_uid}"]
        assert read_with(grid.home, ticket, path_of(grid, one)) == one.path.read_bytes()
    for ticket in (tickets.name, *tickets.studies.values()):
        with pytest.raises(iRODSException):
            read_with(grid.home, ticket, path_of(grid, instances[4]))


def test_all_end_at_their_time_or_by_one_name(
    grid: Grid, instances: list[AnonymisedInstance], released: str
) -> None:
    until = datetime.now(UTC) + DAY
    tickets, others = (issue_release_tickets(grid.home, released, until) for _ in range(2))
    expiry = (TicketQuery.Ticket.string, TicketQuery.Ticket.expiry_ts)
    rows = {r[expiry[0]]: int(r[expiry[1]]) for r in grid.home.rows(expiry)}
    for ticket in (tickets.name, *tickets.studies.values()):
        assert rows[ticket] == int(until.timestamp())
    assert revoke_tickets(grid.home, "%") == revoke_tickets(grid.home, "no.such") == 0
    assert revoke_tickets(grid.home, tickets.name) == 3
    assert revoke_tickets(grid.home, tickets.name) == 0
    left = {others.name, *others.studies.values()}
    assert strings(grid.home) & {*left, tickets.name, *tickets.studies.values()} == left
    with pytest.raises((iRODSException, KeyError)):
        read_with(grid.home, tickets.studies["data/S1/1.2.1"], path_of(grid, instances[0]))


def test_a_withdrawal_takes_the_patients_tickets_and_no_others(
    grid: Grid, instances: list[AnonymisedInstance], released: str
) -> None:
    tickets = issue_release_tickets(grid.home, released, datetime.now(UTC) + DAY)
    alone = issue_ticket(grid.home, path_of(grid, instances[0]), datetime.now(UTC) + DAY)
    erase_subject(grid.home, "demo", "S1", [one.sop_uid for one in instances[:2]])
    kept = {tickets.name, tickets.studies["data/S2/1.2.2"]}
    assert strings(grid.home) & {tickets.name, alone, *tickets.studies.values()} == kept


def test_nothing_is_left_when_one_of_them_cannot_be_made(
    grid: Grid, instances: list[AnonymisedInstance], released: str
) -> None:
    before = strings(grid.home)
    place = study_collection(grid.home.settings.name, "demo", "S2", "1.2.2")
    grid.home.session.collections.remove(place, recurse=True, force=True)
    with pytest.raises(ZoneError):
        issue_release_tickets(grid.home, released, datetime.now(UTC) + DAY)
    with pytest.raises(ConfigError, match="expired already"):
        issue_release_tickets(grid.home, released, datetime.now(UTC) - DAY)
    with pytest.raises(ZoneError, match="not a release"):
        issue_release_tickets(grid.home, place, datetime.now(UTC) + DAY)
    assert strings(grid.home) == before


def test_the_script_names_each_study_with_its_ticket(tmp_path: Path) -> None:
    tickets = ReleaseTickets(
        "abc",
        "/brno/home/demo/releases/heads/v1",
        datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
        {"data/S1/1.2": "abc.1", "data/S2/1.3": "abc.2"},
    )
    script = fetch_script(tickets)
    assert "\nabc .\nabc.1 data/S1/1.2\nabc.2 data/S2/1.3\nEND\n" in script
    assert "until 2030-01-02 03:04 UTC" in script
    file = tmp_path / "fetch.sh"
    file.write_text(script)
    assert subprocess.run(["sh", "-n", str(file)]).returncode == 0


def test_icommands_fetch_the_release_by_the_script(
    grid: Grid, instances: list[AnonymisedInstance], released: str
) -> None:
    tickets = issue_release_tickets(grid.home, released, datetime.now(UTC) + DAY)
    (grid.dir / "fetch.sh").write_text(fetch_script(tickets))
    settings = grid.home.settings
    account = {
        "irods_host": settings.host,
        "irods_port": settings.port,
        "irods_user_name": "anonymous",
        "irods_zone_name": settings.name,
        "irods_authentication_file": str(grid.dir / "no-password"),
    }
    (grid.dir / "environment.json").write_text(json.dumps(account))
    env = {**os.environ, "IRODS_ENVIRONMENT_FILE": str(grid.dir / "environment.json")}
    if shutil.which("iget") is None:
        env |= iget_double.install(grid.dir / "bin")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "fetch.sh"], cwd=grid.dir, env=env, capture_output=True, text=True
        )

    for _ in range(2):  # the second goes on where the first ended
        done = run()
        assert done.returncode == 0, done.stderr
        assert "complete: every file" in done.stderr
    found = [p for p in (grid.dir / "heads-v1").rglob("*.dcm") if p.stat().st_size == SIZE]
    assert len(found) == 4 and not re.search(r"S3", " ".join(map(str, found)))
    revoke_tickets(grid.home, tickets.name)
    shutil.rmtree(grid.dir / "heads-v1")
    assert run().returncode != 0
