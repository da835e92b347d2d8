"""Waves over a real ledger: disjoint, in order, within limits and budgets, through restarts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pacsgrid.config import ProjectSettings, Site, SourceSettings
from pacsgrid.config.sources import NightBudget
from pacsgrid.config.waves import WaveSection
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import IngestKind, IngestState, Ledger, PendingStudy, WaveLimits
from pacsgrid.ledger.worklist import BACKFILL, MOST_TRIES, NAMED, REQUEST
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext, waves
from support.dicom import ct

FIRST_DAY = 700_000


@pytest.fixture
def site(tmp_path: Path, dsn: str) -> Site:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    rooms = {room: tmp_path / room for room in ("staging", "outbox", "quarantine")}
    project = ProjectSettings(
        name="demo", profile="basic", home_zone="brno", partner_zones=(), key_file=key
    )
    return Site(
        **rooms,
        ledger_dsn=dsn,
        vault_key=bytes(32),
        batch_size=4,
        sources={"pacs": SourceSettings(name="pacs", kind="dimse", host="nowhere", port=1)},
        zones={},
        projects={"demo": project},
        wave=WaveSection(studies=1000, instances=0, gigabytes=0),
    )


@pytest.fixture
def context(site: Site) -> Iterator[ProjectContext]:
    with ProjectContext(site, "demo", "tester") as opened:
        yield opened


def fill(
    context: ProjectContext,
    name: str,
    count: int,
    kind: IngestKind = IngestKind.BACKFILL,
    instances: int | None = None,
) -> list[str]:
    """Enter studies of as many days into an ingest; return them from the oldest to the newest."""
    ledger = context.ledger
    ledger.ingests.begin(name, "demo", "pacs", kind)
    refs = [f"st-{name}-{number:06d}" for number in range(count)]
    mixed = random.Random(7).sample(range(count), count)
    priority = {IngestKind.BACKFILL: BACKFILL, IngestKind.NAMED: NAMED}.get(kind, REQUEST)
    for start in range(0, count, 500):
        part = mixed[start : start + 500]
        ledger.studies.add_many_found("demo", "pacs", "hash", {refs[n]: b"sealed" for n in part})
        ledger.worklist.assign(
            name, priority, [PendingStudy(refs[n], FIRST_DAY + n, instances) for n in part]
        )
    return refs


def settle(ledger: Ledger, refs: list[str]) -> None:
    """Finish studies, each by the transition that holds one, as one transaction."""
    with ledger.database.transaction():
        for ref in refs:
            ledger.studies.hold(ref, "test", "finished by the test")


def take(context: ProjectContext, name: str, run: str, most: int = 64) -> list[str]:
    return [ref for batch in waves.hand_out(context, name, run, most) for ref in batch]


def with_(context: ProjectContext, **changes: object) -> ProjectContext:
    """The same project with other settings of the site."""
    return ProjectContext(replace(context.site, **changes), "demo", "tester")  # type: ignore[arg-type]


def test_twenty_thousand_studies_go_through_in_waves_of_64_batches(
    context: ProjectContext,
) -> None:
    refs = fill(context, "in-big", 20_000)
    ledger = context.ledger
    seen: list[str] = []
    run, dice = "manual__1", random.Random(1)
    while run:
        batches = waves.hand_out(context, "in-big", run, most_batches=64)
        assert 0 < len(batches) <= 64 and max(map(len, batches)) <= 4
        mine = [ref for batch in batches for ref in batch]
        # Killed somewhere in the wave, and tried again: the run gets what it had, less what it did.
        done = dice.randrange(len(mine))
        settle(ledger, mine[:done])
        assert take(context, "in-big", run) == mine[done:]
        settle(ledger, mine[done:])
        seen += mine
        following = waves.end_wave(context, "in-big", run, mine)
        # The task that starts the next run may be tried again: it names the same run.
        assert waves.end_wave(context, "in-big", run, mine) == following
        run = waves.next_run_id("in-big", following) if following else ""
    assert seen == refs[::-1]  # the newest first, each once
    big = ledger.ingests.get("in-big")
    assert big is not None and big.state is IngestState.ENDED
    assert (big.found, big.held, big.pending) == (20_000, 20_000, 0)
    assert big.waves == -(-20_000 // (64 * 4))
    assert ledger.worklist.count_by_state("demo") == {}


def test_runs_side_by_side_have_different_studies(context: ProjectContext) -> None:
    refs = fill(context, "in-a", 40)
    first = take(context, "in-a", "one", 3)
    second = take(context, "in-a", "two", 3)
    assert len(first) == len(second) == 12 and not set(first) & set(second)
    assert take(context, "in-a", "one", 3) == first
    # A worker holds a row that the third would like to have: it takes others, and does not wait.
    blocked = refs[40 - 25]
    with Ledger(context.site.ledger_dsn).database.transaction() as cursor:
        cursor.execute("SELECT FROM pacsgrid.work WHERE ref = %s FOR UPDATE", (blocked,))
        third = take(context, "in-a", "three", 3)
    assert blocked not in third and not set(third) & {*first, *second}
    # Of runs that end together the last one starts the next.
    for run, mine in (("one", first), ("two", second)):
        settle(context.ledger, mine)
        assert waves.end_wave(context, "in-a", run, mine) == 0
    assert waves.end_wave(context, "in-a", "three", third) == 4


def test_the_oldest_come_first_where_the_project_wants_it(context: ProjectContext) -> None:
    refs = fill(context, "in-a", 30)
    project = context.project.replace(order="oldest")
    with with_(context, projects={"demo": project}) as other:
        assert take(other, "in-a", "one", 3) == refs[:12]


def test_named_studies_and_small_requests_go_before_a_backfill(context: ProjectContext) -> None:
    old = fill(context, "in-big", 50)
    small = fill(context, "in-small", 3, IngestKind.REQUEST)
    named = fill(context, "in-named", 2, IngestKind.NAMED)
    # A run for a request has its own studies, whatever waits before it.
    assert set(take(context, "in-small", "small")) == set(small)
    context.ledger.worklist.release("small")
    night = waves.begin_nightly(context, "pacs")
    taken = take(context, night, "night", 3)
    assert set(taken[:2]) == set(named) and set(taken[2:5]) == set(small)
    assert taken[5:] == old[::-1][:7]


def test_who_asks_again_gets_what_no_run_has(context: ProjectContext) -> None:
    refs = fill(context, "in-a", 20)
    mine = take(context, "in-a", "one", 2)
    context.ledger.ingests.begin("in-b", "demo", "pacs", IngestKind.NAMED)
    asked = [PendingStudy(ref) for ref in refs]
    assert context.ledger.worklist.assign("in-b", NAMED, asked) == 12
    a, b = (context.ledger.ingests.get(name) for name in ("in-a", "in-b"))
    assert a is not None and b is not None and (a.found, b.found) == (8, 12)
    assert set(take(context, "in-b", "two")) == set(refs) - set(mine)
    # The night finds them too, and leaves them to those who asked.
    night = waves.begin_nightly(context, "pacs")
    assert context.ledger.worklist.assign(night, REQUEST, asked, take_over=False) == 0


def test_a_wave_ends_where_instances_or_bytes_do(context: ProjectContext) -> None:
    fill(context, "in-a", 40, instances=300)
    with with_(context, wave=WaveSection(studies=1000, instances=2000)) as other:
        assert len(take(other, "in-a", "one")) == 6
    with with_(context, wave=WaveSection(studies=1000, instances=100)) as other:
        assert len(take(other, "in-a", "two")) == 1  # larger than a wave, so alone
    limits = WaveLimits(10, size=100, typical_size=40)
    unknown = [PendingStudy(str(n)) for n in range(10)]
    assert len(limits.cut(unknown)) == 2
    assert len(limits.cut([PendingStudy("small", size=1), *unknown])) == 3


@pytest.mark.parametrize(
    ("night", "taken", "reason"),
    [
        (NightBudget(studies=10), [8, 2, 0, 8], "10 studies"),
        # Next night it is known that a study has 625 bytes.
        (NightBudget(gigabytes=4e-6), [8, 0, 6], "GB"),
        (NightBudget(hours=0.5), [8, 0, 8], "0.5 hours"),
    ],
)
def test_a_backfill_ends_with_the_night_s_budget_and_goes_on_the_next(
    context: ProjectContext, night: NightBudget, taken: list[int], reason: str
) -> None:
    fill(context, "in-a", 30)
    settings = context.site.source("pacs").replace(night=night)
    evening = f"Etc/GMT{datetime.now(UTC).hour - 18:+d}"  # where it is six o'clock, or nearly
    if datetime.now(UTC).hour < 4:
        evening = f"Etc/GMT{datetime.now(UTC).hour + 6:+d}"
    with with_(context, sources={"pacs": settings}, time_zone=evening) as other:
        for number, count in enumerate(taken[:-1]):
            mine = take(other, "in-a", f"run{number}", 2)
            assert len(mine) == count
            settle(other.ledger, mine)
            more = waves.end_wave(other, "in-a", f"run{number}", mine)
            assert bool(more) == bool(count)
            if night.hours or night.gigabytes:
                other.ledger.database.run(
                    "UPDATE pacsgrid.wave SET claimed_at = claimed_at - interval '31 minutes',"
                    " bytes = 5000"
                )
        spent = other.ledger.ingests.get("in-a")
        assert spent is not None and spent.state is IngestState.SPENT and reason in spent.note
        # A small request is not held up by a budget.
        small = fill(other, "in-small", 2, IngestKind.REQUEST)
        assert set(take(other, "in-small", "small")) == set(small)
        other.ledger.database.run(
            "UPDATE pacsgrid.wave SET claimed_at = claimed_at - interval '1 day'"
        )
        name = waves.begin_nightly(other, "pacs")
        assert len(take(other, name, "tomorrow", 2)) == taken[-1]
        again = other.ledger.ingests.get("in-a")
        assert again is not None and again.state is IngestState.RUNNING


def test_a_night_begins_at_noon_of_the_site() -> None:
    zone = "America/New_York"
    evening = datetime(2026, 3, 3, 1, tzinfo=UTC)  # 20:00 there
    assert waves.night_start(evening, zone).isoformat() == "2026-03-02T12:00:00-05:00"
    morning = datetime(2026, 3, 2, 16, 59, tzinfo=UTC)
    assert waves.night_start(morning, zone).date() == date(2026, 3, 1)


def test_a_paused_backfill_rests_and_the_others_do_not(context: ProjectContext) -> None:
    fill(context, "in-a", 30)
    other = fill(context, "in-b", 5)
    mine = take(context, "in-a", "one", 2)
    ingests = context.ledger.ingests
    assert ingests.pause("in-a", True, "by the test") and not ingests.pause("in-a", True)
    settle(context.ledger, mine)
    assert waves.end_wave(context, "in-a", "one", mine) == 0
    assert take(context, "in-a", "two") == []
    night = waves.begin_nightly(context, "pacs")
    assert set(take(context, night, "night")) == set(other)
    assert ingests.to_continue(timedelta(0)) == []
    assert ingests.pause("in-a", False)
    assert [one.id for one in ingests.to_continue(timedelta(0))] == ["in-a"]
    assert len(take(context, "in-a", "three", 2)) == 8


def test_what_a_dead_run_had_goes_back(context: ProjectContext) -> None:
    refs = fill(context, "in-a", 12)
    take(context, "in-a", "dead", 2)
    alive = take(context, "in-a", "alive", 1)
    ingests, worklist = context.ledger.ingests, context.ledger.worklist
    assert ingests.to_continue(timedelta(0)) == []
    assert waves.give_back(context.ledger, lambda run: run == "dead") == 8
    assert ingests.open_waves() == ["alive"]
    context.ledger.database.run(
        "UPDATE pacsgrid.work SET claimed_until = now() WHERE run = 'alive'"
    )
    assert waves.give_back(context.ledger, lambda run: False) == len(alive)
    assert set(take(context, "in-a", "new")) == set(refs)
    # A study that moves keeps its claim.
    context.ledger.database.run("UPDATE pacsgrid.work SET claimed_until = now() - interval '1 s'")
    context.ledger.studies.advance(refs[0], StudyState.RETRIEVED)
    worklist.release_expired()
    assert [study.ref for study in worklist.claimed("new", True)] == [refs[0]]


def test_a_study_that_fails_in_every_wave_does_not_keep_them_going(
    context: ProjectContext,
) -> None:
    refs = fill(context, "in-a", 10)
    bad, run, runs = set(refs[8:]), "one", []
    while run:
        mine = take(context, "in-a", run, 1)
        runs.append(mine)
        settle(context.ledger, [ref for ref in mine if ref not in bad])
        following = waves.end_wave(context, "in-a", run, mine)
        run = waves.next_run_id("in-a", following) if following else ""
    assert {ref for mine in runs for ref in mine} == set(refs)
    assert [sum(ref in mine for mine in runs) for ref in bad] == [MOST_TRIES, MOST_TRIES]
    ended = context.ledger.ingests.get("in-a")
    assert ended is not None and ended.state is IngestState.ENDED and "2 studies" in ended.note
    # The next night takes them again.
    assert set(take(context, waves.begin_nightly(context, "pacs"), "night")) == bad


def test_progress_tells_what_is_left_and_how_long_it_takes(context: ProjectContext) -> None:
    refs = fill(context, "in-a", 30)
    mine = take(context, "in-a", "one", 5)
    settle(context.ledger, mine[:10])
    for state in list(StudyState)[1:6]:
        context.ledger.studies.advance(mine[10], state)
    context.ledger.database.run(
        "UPDATE pacsgrid.wave SET claimed_at = claimed_at - interval '1 hour'"
    )
    (one,) = context.ledger.ingests.of_projects(["demo"])
    assert (one.found, one.held, one.verified, one.pending, one.waves) == (30, 10, 1, 19, 1)
    assert one.rate == pytest.approx(11, rel=0.01)
    assert one.hours_left == pytest.approx(19 / 11, rel=0.01)
    assert context.ledger.ingests.of_projects(["other"]) == []
    # A study that a steward releases is work again, for the next night.
    context.ledger.studies.unhold(mine[0])
    assert mine[0] in context.ledger.worklist.refs("demo", "pacs") and len(refs) == 30


def test_claiming_reads_an_index_in_the_order_that_is_wanted(context: ProjectContext) -> None:
    fill(context, "in-a", 2000)
    database = context.ledger.database
    with database.transaction() as cursor:
        cursor.execute("ANALYZE pacsgrid.work")
        for whose in ("project = 'demo' AND source = 'pacs'", "ingest = 'in-a'"):
            cursor.execute(
                f"EXPLAIN SELECT ref FROM pacsgrid.work WHERE {whose} AND priority = 2"
                " AND tries = 0 AND run IS NULL AND NOT paused ORDER BY day DESC, ref DESC"
                " LIMIT 50 FOR UPDATE SKIP LOCKED"
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Index Scan Backward" in plan and "Sort" not in plan


@pytest.mark.parametrize(
    ("kind", "named", "a_wave", "is_now", "first"),
    [
        ("folder", False, 3, IngestKind.REQUEST, REQUEST),
        ("folder", False, 2, IngestKind.BACKFILL, BACKFILL),
        ("folder", True, 2, IngestKind.NAMED, NAMED),
    ],
)
def test_what_a_run_asks_for_tells_how_urgent_it_is(
    context: ProjectContext,
    tmp_path: Path,
    kind: str,
    named: bool,
    a_wave: int,
    is_now: IngestKind,
    first: int,
) -> None:
    for number in range(3):
        ct(tmp_path / "drop" / f"{number}.dcm", f"1.2.{number}", f"1.2.{number}.1.1")
    drop = SourceSettings(name="drop", kind=kind, folder=tmp_path / "drop")
    with with_(context, sources={"drop": drop}, wave=WaveSection(studies=a_wave)) as other:
        for _ in range(2):  # a run that is tried again asks again
            name = waves.ask(other, "drop", [StudyQuery()], "run", named)
            ingest = other.ledger.ingests.get(name)
            assert ingest is not None and (ingest.kind, ingest.found) == (is_now, 3)
        rows = other.ledger.database.all("SELECT DISTINCT priority FROM pacsgrid.work")
        assert rows == [(first,)]
        assert len(take(other, name, "run")) == a_wave
        waves.ask(other, "drop", [StudyQuery()], "run", named)
        again = other.ledger.ingests.get(name)
        assert again is not None and again.kind is is_now


def test_an_ingest_of_another_project_is_as_unknown_as_none(context: ProjectContext) -> None:
    context.ledger.ingests.begin("in-other", "other", "pacs", IngestKind.BACKFILL)
    for name in ("in-other", "in-none"):
        with pytest.raises(ConfigError, match=f"no ingest {name}"):
            take(context, name, "run")


def test_what_a_run_gives_back_rests_with_its_paused_ingest(context: ProjectContext) -> None:
    refs = fill(context, "in-a", 6)
    mine = take(context, "in-a", "one", 1)
    context.ledger.studies.hold(mine[0], "test", "why")
    assert context.ledger.ingests.pause("in-a", True)
    assert waves.end_wave(context, "in-a", "one", mine) == 0
    night = waves.begin_nightly(context, "pacs")
    assert take(context, night, "night") == []
    assert context.ledger.ingests.pause("in-a", False)
    assert set(take(context, night, "later")) == set(refs) - {mine[0]}
