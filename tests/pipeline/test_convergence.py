"""Whatever fails on a study's way, it is proven everywhere in the end, or held with its reason.

What failed is made good; what stays down is told and does not count as settled.
"""

from __future__ import annotations

import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import RetryableError
from pacsgrid.grid import Zone, collection_of_study
from pacsgrid.grid.catalog import replicas_below
from pacsgrid.ledger.proofs import Proofs
from pacsgrid.ledger.studies import Studies
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.report import project_report
from support.dicom import ct
from support.replica_proofs import proven_once
from support.zones_under_test import bare_stack

SCENARIOS = int(os.environ.get("PACSGRID_SCENARIOS", "8"))
SEED = int(os.environ.get("PACSGRID_SCENARIOS_SEED", "7"))
RESOURCES = (("brno", "brno_disk1"), ("brno", "brno_disk2"), ("praha", "praha_disk1"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("stack") / "stack") as stack:
        yield stack


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A StudyInstanceUID of the test's own."""
    return f"1.2.{zlib.crc32(request.node.name.encode())}"


def set_status(context: ProjectContext, zone: str, resource: str, status: str) -> None:
    # A client of its own: the line's connections may have died with the server.
    with Zone(context.zone(zone).settings) as client:
        client.session.resources.modify(resource, "status", status)


def vault_files(context: ProjectContext, zone: str, ref: str) -> list[Path]:
    """The files in a zone's vaults that hold replicas of a study's instances."""
    rows = context.ledger.instances.of_study(ref)
    if not rows:
        return []
    with Zone(context.zone(zone).settings) as client:
        there = replicas_below(client, collection_of_study(client, "demo", rows))
    return [
        Path(replica.file)
        for path, replicas in there.items()
        if path.endswith(".dcm")
        for replica in replicas
    ]


def take(context: ProjectContext, study: str, stack: Stack, until: str = "verify") -> str:
    """Send a new study of two instances as far as a step, which may fail."""
    for number in range(2):
        ct(stack.drop / f"{study}-{number}.dcm", study, f"{study}.1.{number}", fill=number)
    find_studies(context, "drop", StudyQuery())
    ref = context.pseudonyms.reference("drop", study)
    for name in STEPS:
        with suppress(RetryableError):
            run_step(context, name, [ref])
        if name == until:
            break
    return ref


@pytest.mark.parametrize("resource", RESOURCES[:2])
def test_a_resource_that_was_down_during_the_ingest_is_made_good(
    stack: Stack, study: str, resource: tuple[str, str]
) -> None:
    with ProjectContext(stack.site, "demo") as context:
        set_status(context, *resource, "down")
        ref = take(context, study, stack)
        assert context.ledger.studies.state(ref) not in (StudyState.VERIFIED, StudyState.HELD)
        report = project_report(context)
        assert not report.settled and sum(report.underway.values()) == 1
        with pytest.raises(RetryableError):
            run_step(context, "verify", [ref])
        set_status(context, *resource, "up")
        assert run_step(context, "verify", [ref]).refs == [ref]
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED
        assert proven_once(context, ref) and project_report(context).settled


@pytest.mark.parametrize("reached", ["deposit", "replicate"])
def test_the_night_takes_on_what_an_ingest_left_behind(
    stack: Stack, study: str, reached: str
) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = take(context, study, stack, until=reached)
        report = project_report(context)
        assert not report.settled and report.zones["brno"].lacking == 2
        night = maintain(context)
        assert (night.finished, night.failures) == (1, [])
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED and proven_once(
            context, ref
        )
        assert (
            not context.folders(ref).outbox.exists() and not context.folders(ref).staging.exists()
        )


def test_an_anonymised_study_is_left_to_its_ingest_for_an_hour(stack: Stack, study: str) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = take(context, study, stack, until="anonymise")
        assert maintain(context).finished == 0
        assert maintain(context, datetime.now(UTC) + timedelta(hours=2)).finished == 1
        assert proven_once(context, ref)


@pytest.mark.parametrize(("reached", "room"), [("retrieve", "staging"), ("anonymise", "outbox")])
def test_a_study_whose_files_are_gone_is_retrieved_again(
    stack: Stack, study: str, reached: str, room: str
) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = take(context, study, stack, until=reached)
        shutil.rmtree(getattr(context.folders(ref), room))
        assert run_step(context, "verify", [ref]).refs == [ref]
        assert proven_once(context, ref)


def test_what_is_lost_before_it_was_proven_comes_from_the_outbox(stack: Stack, study: str) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = take(context, study, stack, until="deposit")
        files = vault_files(context, "brno", ref)
        assert len(files) == 4
        for file in files:
            file.unlink()
        run_step(context, "verify", [ref])
        assert proven_once(context, ref)


def test_what_is_proven_of_a_study_that_was_held_later_stays_in_the_zones_care(
    stack: Stack, study: str
) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = take(context, study, stack)
        clear_work_folders(context, [ref])
        context.ledger.studies.reopen(ref)
        context.ledger.studies.hold(ref, "conflict", "for the test")
        vault_files(context, "brno", ref)[0].unlink()
        later = datetime.now(UTC) + timedelta(days=40)
        night = maintain(context, later)
        assert (night.repaired, night.failures) == (1, [])
        assert proven_once(context, ref) and context.ledger.studies.state(ref) is StudyState.HELD


def test_everything_is_verified_now_when_it_is_asked_for(
    stack: Stack, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProjectContext(stack.site, "demo") as context:
        ref = take(context, study, stack)
        file = vault_files(context, "brno", ref)[0]
        file.write_bytes(b"ruined")
        monkeypatch.setenv(SITE_ENV, str(stack.dir / "site.yaml"))
        assert main(["maintain", "demo", "--verify-now"]) == 0
        assert capsys.readouterr().out.split(" studies: ")[0] == str(
            len(context.ledger.studies.find("demo", [StudyState.VERIFIED, StudyState.HELD]))
        )
        assert file.read_bytes() != b"ruined" and proven_once(context, ref)


class Failing:
    """One study's way with things that fail at random."""

    def __init__(self, stack: Stack, context: ProjectContext, dice: random.Random) -> None:
        self.stack, self.context, self.dice = stack, context, dice
        self.down: set[tuple[str, str]] = set()

    def resource(self, ref: str) -> None:
        one = self.dice.choice(RESOURCES)
        if one in self.down:
            set_status(self.context, *one, "up")
            self.down.remove(one)
        else:
            set_status(self.context, *one, "down")
            self.down.add(one)

    def step(self, ref: str) -> None:
        with suppress(RetryableError):
            run_step(self.context, self.dice.choice(list(STEPS)), [ref])

    def killed(self, ref: str) -> None:
        """A step that dies just before its result is in the ledger, or between two proofs."""
        with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt, RetryableError):
            patch.setattr(*self.dice.choice([(Studies, "advance"), (Proofs, "add")]), _die)
            run_step(self.context, self.dice.choice(list(STEPS)), [ref])

    def zone(self, ref: str) -> None:
        name = self.dice.choice(["brno", "praha"])
        self.stack.zones[name].kill()
        self.step(ref)
        self.stack.start_zone(name)

    def room(self, ref: str) -> None:
        rooms = self.context.folders(ref)
        shutil.rmtree(self.dice.choice([rooms.staging, rooms.outbox]), ignore_errors=True)

    def vault(self, ref: str) -> None:
        zone = self.dice.choice(["brno", "praha"])
        if files := [file for file in vault_files(self.context, zone, ref) if file.exists()]:
            file = self.dice.choice(files)
            if self.dice.random() < 0.5:
                file.write_bytes(b"ruined")
            else:
                file.unlink()

    def night(self, ref: str) -> None:
        with suppress(RetryableError):
            maintain(self.context, self.later())

    def later(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=self.dice.choice([0, 2]))

    def happens(self, ref: str) -> str:
        kinds: dict[str, Callable[[str], None]] = {
            "resource": self.resource,
            "step": self.step,
            "killed": self.killed,
            "zone": self.zone,
            "room": self.room,
            "vault": self.vault,
            "night": self.night,
        }
        kind = self.dice.choices(list(kinds), [3, 6, 2, 1, 1, 2, 2])[0]
        kinds[kind](ref)
        return kind

    def heal(self) -> None:
        for one in self.down:
            set_status(self.context, *one, "up")
        self.down.clear()
        for zone in ("brno", "praha"):
            self.context.ledger.absences.mark_present(zone)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_every_study_converges_or_is_held(stack: Stack) -> None:
    stories: dict[str, tuple[int, list[str]]] = {}
    for number in range(SCENARIOS):
        dice = random.Random(f"{SEED}-{number}")
        with ProjectContext(stack.site, "demo") as context:
            failing = Failing(stack, context, dice)
            ref = take(context, f"1.2.3.{number + 10}", stack, until=dice.choice([*STEPS]))
            happened = [failing.happens(ref) for _ in range(dice.randint(2, 7))]
            failing.heal()
            stories[ref] = number, happened
        with ProjectContext(stack.site, "demo") as context:
            run_step(context, "verify", [ref])  # as the next ingest of the source does
    with ProjectContext(stack.site, "demo") as context:
        for days in (1, 40):
            night = maintain(context, datetime.now(UTC) + timedelta(days=days), everything=True)
            assert not night.failures
        for ref, story in stories.items():
            if context.ledger.studies.state(ref) is StudyState.HELD:
                assert context.ledger.studies.held_code(ref), story
                continue
            lost = {uid for who, uid in night.lost if who == ref}
            assert lost or proven_once(context, ref), story
            assert context.ledger.studies.state(ref) is StudyState.VERIFIED, story
            assert len(context.ledger.instances.of_study(ref)) == 2
