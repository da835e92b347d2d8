"""A researcher asks, a steward grants for a week, the clock moves: access is gone in iRODS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacsgrid.config import ZoneSettings
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError
from pacsgrid.grid import Zone
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.grid.read_grants import end_of_group, grant_group, grant_groups
from pacsgrid.ledger import Grant, GrantState
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.grants import (
    approve_grant,
    end_grant,
    refuse_grant,
    request_grant,
    settle_grants,
)
from pacsgrid.pipeline.housekeeping import clean_up
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.zones_under_test import bare_stack

NOW = datetime.now(UTC)
WEEK = timedelta(days=7)
EVA, WHY = "eva#brno", "a study of nodules, vote 7/2026"


@dataclass
class Released:
    """A site with the releases `heads` (two studies) and `one` (one of them), and a researcher."""

    stack: Stack
    context: ProjectContext
    eva: ZoneSettings
    folder: Path
    fetched: int = 0

    def get(self, name: str) -> Grant:
        found = self.context.ledger.grants.get(name)
        assert found is not None
        return found

    def ask(self, release: str = "heads", version: int = 1) -> Grant:
        until = NOW + WEEK
        return self.get(request_grant(self.context, release, version, EVA, WHY, until, NOW))

    def granted(self, release: str = "heads", days: float = 7) -> Grant:
        grant = self.ask(release)
        assert approve_grant(self.context, grant, NOW + timedelta(days=days), "anna", "", NOW)
        return self.get(grant.id)

    def reads(self, release: str = "heads/v1") -> int:
        """Return how many files the researcher can fetch of a release."""
        self.fetched += 1
        into = self.folder / f"fetched{self.fetched}"
        try:
            # With connections of its own, as one who fetches has.
            with Zone(self.eva) as zone:
                report = fetch_release(zone, f"/brno/home/demo/releases/{release}", into)
        except Exception:
            return 0
        assert not report.bad
        return len(list(into.rglob("*.dcm")))

    def settled_anew(self, now: datetime) -> int:
        """Settle as the next night does, with connections of its own."""
        with ProjectContext(self.stack.site, "demo") as context:
            return settle_grants(context, now)

    def events(self, grant: Grant) -> list[str]:
        return [event.what for event in self.context.ledger.grants.events(grant.id)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("grants")) as stack:
        for number in (1, 2, 3):
            ct(
                stack.drop / f"{number}.dcm",
                f"1.2.{number}",
                f"1.2.{number}.1",
                patient_id=f"P{number}",
            )
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            user = context.home.session.users.create("eva", "rodsuser")
            user.modify("password", "secret-of-eva")
        yield stack


@pytest.fixture
def released(stack: Stack, tmp_path: Path) -> Iterator[Released]:
    with ProjectContext(stack.site, "demo") as context:
        members = select_cohort(context, Cohort(("Modality = CT",)))
        release_cohort(context, "heads", members)
        release_cohort(context, "one", {ref: rows for ref, rows in list(members.items())[:1]})
        settings = context.home.settings.replace(user="eva", password="secret-of-eva")
        yield Released(stack, context, settings, tmp_path)
        for grant in context.ledger.grants.of_projects(["demo"]):
            if grant.state in (GrantState.REQUESTED, GrantState.GRANTED):
                end_grant(context, grant, "test", "")


def test_what_was_asked_for_is_granted_and_ends_by_the_clock(released: Released) -> None:
    grant = released.ask()
    assert grant.state is GrantState.REQUESTED and released.reads() == 0
    assert approve_grant(released.context, grant, NOW + WEEK, "anna", "fits the vote", NOW)
    assert released.reads() == 3 and released.reads("one/v1") == 0
    assert settle_grants(released.context, NOW + WEEK - timedelta(minutes=1)) == 0
    assert released.reads() == 3
    assert settle_grants(released.context, NOW + WEEK + timedelta(minutes=1)) == 1
    assert released.reads() == 0 and grant_groups(released.context.home) == []
    assert settle_grants(released.context, NOW + WEEK + timedelta(minutes=2)) == 0
    assert released.get(grant.id).state is GrantState.ENDED
    assert released.events(grant) == [
        "requested", "granted", "rights set", "ended", "rights removed"
    ]  # fmt: skip


def test_the_nightly_housekeeping_ends_what_is_over(released: Released) -> None:
    grant = released.granted()
    with released.context.ledger.database.transaction() as cursor:
        cursor.execute("UPDATE pacsgrid.read_grant SET until = now() WHERE id = %s", (grant.id,))
    report = clean_up(released.context, timedelta(days=30), timedelta(days=90))
    assert report.grants == 1 and released.reads() == 0


def test_the_end_of_one_grant_leaves_another_on_the_same_study(released: Released) -> None:
    wide, narrow = released.granted("heads"), released.granted("one")
    assert end_grant(released.context, wide, "anna", "the project is over")
    assert released.reads() == 0 and released.reads("one/v1") == 1
    assert end_grant(released.context, narrow, "eva#brno", "")
    assert released.reads("one/v1") == 0


def test_another_end_is_kept_to(released: Released) -> None:
    grant = released.granted(days=7)
    assert approve_grant(released.context, grant, NOW + 2 * WEEK, "anna", "longer", NOW)
    assert settle_grants(released.context, NOW + WEEK + timedelta(hours=1)) == 0
    assert released.reads() == 3 and len(grant_groups(released.context.home, grant.id)) == 1
    assert settle_grants(released.context, NOW + 2 * WEEK + timedelta(hours=1)) == 1
    assert released.reads() == 0


def test_a_zone_that_is_away_gets_the_rights_later_and_loses_them_later(
    released: Released,
) -> None:
    grant = released.ask()
    released.stack.zones["brno"].kill()
    assert not approve_grant(released.context, grant, NOW + WEEK, "anna", "", NOW)
    assert released.get(grant.id).state is GrantState.GRANTED
    released.stack.start_zone("brno")
    assert released.settled_anew(NOW + timedelta(hours=1)) == 1 and released.reads() == 3
    released.stack.zones["brno"].kill()
    assert not end_grant(released.context, grant, "anna", "over")
    released.stack.start_zone("brno")
    assert released.reads() == 3
    assert released.settled_anew(NOW + timedelta(hours=2)) == 1 and released.reads() == 0


def test_a_refusal_and_what_was_answered_stay(released: Released) -> None:
    grant = released.ask()
    with pytest.raises(ConfigError, match="reason"):
        refuse_grant(released.context, grant, "anna", "no")
    refuse_grant(released.context, grant, "anna", "no vote of the ethics committee")
    assert released.get(grant.id).state is GrantState.REFUSED
    with pytest.raises(ConfigError, match="answered or has ended"):
        approve_grant(released.context, grant, NOW + WEEK, "anna", "", NOW)
    assert released.reads() == 0


@pytest.mark.parametrize(
    ("release", "version", "purpose", "days", "wrong"),
    [
        ("heads", 9, WHY, 7, "no release"),
        ("heads", 1, "because", 7, "purpose"),
        ("heads", 1, WHY, -1, "passed"),
        ("heads", 1, WHY, 9999, "ten years"),
    ],
)
def test_a_wrong_request_is_told(
    released: Released, release: str, version: int, purpose: str, days: int, wrong: str
) -> None:
    with pytest.raises(ConfigError, match=wrong):
        request_grant(
            released.context, release, version, EVA, purpose, NOW + timedelta(days=days), NOW
        )


def test_a_second_request_waits_for_the_first(released: Released) -> None:
    released.ask()
    with pytest.raises(ConfigError, match="asked for already"):
        released.ask()


def test_an_unknown_user_gets_nothing(released: Released) -> None:
    name = request_grant(released.context, "heads", 1, "nobody#brno", WHY, NOW + WEEK, NOW)
    with pytest.raises(ConfigError, match="no user 'nobody'"):
        approve_grant(released.context, released.get(name), NOW + WEEK, "anna", "", NOW)


def test_a_withdrawal_moves_the_grant_to_the_version_without_the_patient(
    released: Released,
) -> None:
    grant = released.granted()
    subject = released.context.pseudonyms.subject("P3")
    withdraw(released.context, subject)
    moved = released.get(grant.id)
    assert (moved.version, moved.rights) == (2, "set")
    assert released.reads("heads/v2") == 2


@pytest.mark.parametrize("name", ["lung_readers", "grant_x_until_20260101T000000Z", ""])
def test_other_groups_never_end(name: str) -> None:
    assert end_of_group(name) is None


def test_the_group_s_name_tells_the_end() -> None:
    until = datetime(2026, 6, 1, 12, tzinfo=UTC)
    group = grant_group("gr-" + "a" * 20, until)
    assert end_of_group(group) == until and len(group) < 60
    assert end_of_group(group.replace("0601", "0631")) == datetime.min.replace(tzinfo=UTC)
