"""Nights of synchronisation with a real PACS: nothing is missed, nothing is taken twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.config import ProjectSettings, Site
from pacsgrid.embedded.pacs import EmbeddedPacs
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import SourceError, SourceUnavailableError
from pacsgrid.ledger import Ledger
from pacsgrid.ledger.worklist import REQUEST
from pacsgrid.model import AnonymisedInstance, StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.sync import Window, due_windows, sync_source
from pacsgrid.pipeline.waves import nightly_id
from support.dicom import ct

FIRST = date(2024, 1, 1)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[EmbeddedPacs]:
    with EmbeddedPacs(tmp_path / "pacs") as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, pacs: EmbeddedPacs, dsn: str) -> Site:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    rooms = {room: tmp_path / room for room in ("staging", "outbox", "quarantine")}
    return Site(
        **rooms,
        ledger_dsn=dsn,
        vault_key=bytes(32),
        batch_size=4,
        sources={"pacs": pacs.settings().replace(name="pacs")},
        zones={},
        projects={
            "demo": ProjectSettings(
                name="demo", profile="basic", home_zone="brno", partner_zones=(), key_file=key
            )
        },
    )


def add(pacs: EmbeddedPacs, tmp_path: Path, day: date, number: int, slices: int = 1) -> str:
    """Put a study into the PACS, or more slices to one that is there."""
    study = f"1.2.3.{day:%Y%m%d}.{number}"
    paths = []
    for one in range(slices):
        path = ct(tmp_path / f"{study}.{one}.dcm", study, f"{study}.1.{one}")
        data = dcmread(path)
        data.StudyDate = f"{day:%Y%m%d}"
        data.save_as(path)
        paths.append(path)
    assert pacs.load(paths) == slices
    return study


def night(site: Site, today: date, **more: int) -> list[str]:
    with ProjectContext(site, "demo") as context:
        sync_source(context, "pacs", today, FIRST, **more)
        return context.ledger.worklist.refs("demo", "pacs")


def finish(site: Site, refs: list[str], slices: int = 1) -> None:
    """Bring studies to their end, with as many instances as they had."""
    with ProjectContext(site, "demo") as context:
        for ref in refs:
            made = [
                AnonymisedInstance("s", "e", f"{ref}.{n}", "p", "CT", "c", "0" * 64, 1, Path("x"))
                for n in range(slices)
            ]
            context.ledger.instances.add(ref, made)
            for state in list(StudyState)[1:6]:
                context.ledger.studies.advance(ref, state)


def reference(site: Site, study: str) -> str:
    with ProjectContext(site, "demo") as context:
        return context.pseudonyms.reference("pacs", study)


def test_each_study_is_found_once_and_late_ones_too(
    site: Site, pacs: EmbeddedPacs, tmp_path: Path
) -> None:
    day = date(2024, 3, 1)
    first = add(pacs, tmp_path, day, 1)
    old = add(pacs, tmp_path, date(2024, 1, 1), 1)
    taken = night(site, day)
    assert sorted(taken) == sorted(reference(site, uid) for uid in (first, old))
    # What could not be taken is given again, though its window has passed.
    assert sorted(night(site, day + timedelta(days=60))) == sorted(taken)
    finish(site, taken)
    assert night(site, day + timedelta(days=60)) == []
    late = add(pacs, tmp_path, day + timedelta(days=55), 2)
    assert night(site, day + timedelta(days=61)) == [reference(site, late)]


def test_new_slices_of_a_finished_study_open_it_again(
    site: Site, pacs: EmbeddedPacs, tmp_path: Path
) -> None:
    day = date(2024, 3, 1)
    study = add(pacs, tmp_path, day, 1)
    finish(site, night(site, day))
    assert night(site, day + timedelta(days=1)) == []
    add(pacs, tmp_path, day, 1, slices=3)
    assert night(site, day + timedelta(days=2)) == [reference(site, study)]


def test_an_outage_of_days_is_caught_up(site: Site, pacs: EmbeddedPacs, tmp_path: Path) -> None:
    day = date(2024, 2, 1)
    finish(site, night(site, day))
    deaf = site.sources["pacs"].replace(port=reserve_port(), failures=10_000)
    studies = []
    for passed in range(1, 40, 13):
        studies.append(add(pacs, tmp_path, day + timedelta(days=passed), 1))
        with pytest.raises(SourceUnavailableError):
            night(replace(site, sources={"pacs": deaf}), day + timedelta(days=passed))
    assert Ledger(site.ledger_dsn).sync_cursor("demo", "pacs").read() == day
    found = night(site, day + timedelta(days=41))
    assert sorted(found) == sorted(reference(site, uid) for uid in studies)


def test_windows_that_answer_too_much_are_split(
    site: Site, pacs: EmbeddedPacs, tmp_path: Path
) -> None:
    day = date(2024, 1, 1)
    studies = [add(pacs, tmp_path, day + timedelta(days=n), 1) for n in range(7)]
    limited = site.sources["pacs"].replace(most_answers=3)
    small = replace(site, sources={"pacs": limited})
    found = night(small, day + timedelta(days=6), days=7)
    assert sorted(found) == sorted(reference(site, uid) for uid in studies)
    for number in (2, 3):
        add(pacs, tmp_path, day + timedelta(days=7), number)
    add(pacs, tmp_path, day + timedelta(days=7), 4)
    with pytest.raises(SourceError, match="2024-01-08"):
        night(small, day + timedelta(days=7))
    assert Ledger(site.ledger_dsn).sync_cursor("demo", "pacs").read() == day + timedelta(days=6)


def test_windows() -> None:
    ten = date(2024, 1, 10)
    assert due_windows(None, FIRST, ten, 3, 4) == [
        Window(FIRST, date(2024, 1, 4)),
        Window(date(2024, 1, 5), date(2024, 1, 8)),
        Window(date(2024, 1, 9), ten),
    ]
    assert due_windows(ten, FIRST, ten, 3, 30) == [Window(date(2024, 1, 7), ten)]
    assert due_windows(date(2024, 1, 2), FIRST, date(2024, 1, 2), 30, 30)[0].start == FIRST
    whole = Window(FIRST, ten)
    parts = [whole]
    while any(part.start != part.end for part in parts):
        parts = [
            half
            for part in parts
            for half in (part.halves() if part.start != part.end else (part,))
        ]
    assert [part.start for part in parts] == [FIRST + timedelta(days=n) for n in range(10)]


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_first_night_of_years_is_asked_for_in_parts(
    site: Site, pacs: EmbeddedPacs, tmp_path: Path, order: str
) -> None:
    project = site.projects["demo"].replace(order=order)
    site = replace(site, projects={"demo": project})
    today = FIRST + timedelta(days=300)
    days = [FIRST + timedelta(days=n) for n in (0, 50, 150, 250, 299)]
    studies = [reference(site, add(pacs, tmp_path, day, 1)) for day in days]
    seen: list[set[str]] = []
    for night in range(4):
        with ProjectContext(site, "demo") as context:
            whole = sync_source(
                context, "pacs", today + timedelta(days=night), FIRST, late_days=2, most_days=101
            )
            seen.append(set(context.ledger.worklist.refs("demo", "pacs")))
            assert whole is (night >= 2)
            if night == 1:
                fresh = reference(site, add(pacs, tmp_path, today + timedelta(days=2), 1))
    found = {
        # What is new at the time never waits for what is old.
        "oldest": [{0, 1, 4}, {0, 1, 2, 4}],
        "newest": [{3, 4}, {2, 3, 4}],
    }[order]
    assert seen[:2] == [{studies[n] for n in night} for night in found]
    assert seen[2] == seen[3] == {*studies, fresh}
    with ProjectContext(site, "demo") as context:
        ingest = context.ledger.ingests.get(nightly_id("demo", "pacs"))
        assert ingest is not None and (ingest.found, ingest.pending) == (6, 6)
        rows = context.ledger.database.all(
            "SELECT ref FROM pacsgrid.work WHERE priority = %s", (REQUEST,)
        )
        # Late days are as urgent as last night's; what a window of them has besides, too.
        assert {studies[4], fresh} <= {ref for (ref,) in rows}
        assert studies[0] not in {ref for (ref,) in rows}
