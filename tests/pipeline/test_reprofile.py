"""Deposited studies are anonymised again under another profile, each as a new version."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from irods.column import Like
from irods.models import Collection, DataObject

from pacsgrid.cli import main
from pacsgrid.config import Site
from pacsgrid.embedded.stack import DSN_ENV, SITE_ENV, Stack
from pacsgrid.errors import RetryableError
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.index_refresh import refresh
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext, clear_work_folders, find_studies, run_step, waves
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.doctor import find_faults
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.reprofile import enter_new_versions, progress, remove_version
from pacsgrid.pipeline.review import Verdict, decide
from pacsgrid.pipeline.take import take
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.zones_under_test import bare_stack

FILES = 2


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with bare_stack(tmp_path / "stack") as stack:
        yield stack


def fill(stack: Stack, studies: int) -> None:
    for study in range(studies):
        for number in range(FILES):
            uid = f"1.2.3.{study + 1}"
            path = stack.drop / f"{study}-{number}.dcm"
            ct(path, uid, f"{uid}.1.{number}", fill=number, patient_id=f"P{study}")


def with_profile(site: Site, profile: str) -> Site:
    demo = site.projects["demo"]
    return replace(site, projects={**site.projects, "demo": demo.replace(profile=profile)})


def go(context: ProjectContext, refs: list[str]) -> list[str]:
    """Take studies to their end, as `ingest_studies` does."""
    refs = take(context, refs).refs
    for name in ("replicate", "verify"):
        refs = run_step(context, name, refs).refs
    clear_work_folders(context, refs)
    return refs


def reprofile(context: ProjectContext, run: str = "r", limit: int = 100) -> list[str]:
    """Enter new versions and return their references, as the waves of the ingests do."""
    entered = enter_new_versions(context, "steward", "a better profile", run, limit)
    refs: list[str] = []
    for name in entered.ingests.values():
        refs += [ref for batch in waves.hand_out(context, name, f"{run}-1", 64) for ref in batch]
    assert len(refs) == entered.studies
    return refs


def objects(context: ProjectContext, ref: str) -> dict[str, str]:
    return {row.sop_uid: row.sha256 for row in context.ledger.instances.of_study(ref)}


def collections(context: ProjectContext) -> set[str]:
    """The studies' collections at home, below their subjects."""
    root = f"/{context.home.settings.name}/home/demo/data/"
    rows = context.home.rows((Collection.name, DataObject.name), Like(Collection.name, f"{root}%"))
    return {row[Collection.name].removeprefix(root).split("/")[1] for row in rows}


def shown(context: ProjectContext, index: Index) -> dict[str, set[str]]:
    """The checksums of each study in the gateway's index."""
    for zone in (context.home, *context.partners):
        refresh(index, zone, "demo")
    found: dict[str, set[str]] = {}
    with index.reading() as db:
        for uid, sha256 in db.execute(
            "SELECT study.uid, sha256 FROM instance JOIN series ON series = series.id"
            " JOIN study ON study = study.id"
        ):
            found.setdefault(uid, set()).add(sha256)
    return found


def test_a_new_version_takes_the_place_of_the_old_which_stays_while_a_release_lists_it(
    stack: Stack, tmp_path: Path
) -> None:
    fill(stack, 2)
    index = Index(tmp_path / "index.sqlite")
    with ProjectContext(stack.site, "demo") as context:
        listed, free = refs = sorted(go(context, find_studies(context, "drop", StudyQuery())))
        uids = {ref: context.ledger.instances.of_study(ref)[0].study_uid for ref in refs}
        before = {ref: objects(context, ref) for ref in refs}
        released = release_cohort(
            context, "first", select_cohort(context, Cohort(members=tuple([uids[listed]])))
        )
        assert shown(context, index) == {uids[r]: set(before[r].values()) for r in refs}
        assert reprofile(context) == []  # they have the project's profile
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        # Maintenance under another profile does not say that old studies have it.
        assert maintain(context, everything=True).failures == []
        assert shown(context, index) == {uids[r]: set(before[r].values()) for r in refs}
        assert progress(context).outdated == 2
        new = reprofile(context)
        assert len(new) == 2 and reprofile(context, "again") == []
        assert (progress(context).underway, progress(context).held) == (2, 0)
        # Until a new version is proven, the old one is what cohorts find.
        assert set(select_cohort(context, Cohort(members=tuple([*uids.values()])))) == set(refs)
        assert sorted(go(context, new)) == sorted(new)
        pairs = {context.ledger.versions.before(ref)[0]: ref for ref in new}
        assert set(pairs) == set(refs)
        for old, now in pairs.items():
            after = objects(context, now)
            assert after.keys() == before[old].keys()
            assert not set(after.values()) & set(before[old].values())
        # The one that a release lists is kept, bit for bit; the other is gone everywhere.
        assert context.ledger.studies.state(listed) is StudyState.VERIFIED
        assert context.ledger.studies.state(free) is StudyState.SUPERSEDED
        assert objects(context, listed) == before[listed] and objects(context, free) == {}
        assert collections(context) == {
            uids[listed],
            f"{uids[listed]}.v2",
            f"{uids[free]}.v2",
        }
        left = progress(context)
        assert (left.outdated, left.kept, left.removing) == (0, 1, 0)
        fetched = fetch_release(context.home, released, tmp_path / "fetched")
        assert fetched.bad == []
        # Readers see the new versions.
        assert set(select_cohort(context, Cohort(members=tuple([*uids.values()])))) == set(new)
        criteria = Cohort(("Modality = CT",))  # "Modality", "CT"
        assert set(select_cohort(context, criteria)) == set(new)
        now = {uids[old]: set(objects(context, ref).values()) for old, ref in pairs.items()}
        assert shown(context, index) == now
        report = maintain(context, everything=True)
        assert (report.failures, report.lost, report.removed) == ([], set(), 0)
        assert list(find_faults(context)) == []
        # The same query leads to the new version, which is reopened when the study grows.
        assert find_studies(context, "drop", StudyQuery()) == []
        ct(stack.drop / "late.dcm", "1.2.3.1", "1.2.3.1.1.9", fill=9, patient_id="P0")
        (grown,) = find_studies(context, "drop", StudyQuery())
        assert grown in new
        assert go(context, [grown]) == [grown]
        assert len(objects(context, grown)) == FILES + 1
        # A later release has the new version, and both can be fetched.
        second = release_cohort(context, "first", select_cohort(context, criteria))
        assert second != released
        for name, collection in (("one", released), ("two", second)):
            assert fetch_release(context.home, collection, tmp_path / name).bad == []
        # Once no release lists it, maintenance removes the old version.
        context.ledger.releases.mark_retired("demo", "first", 1)
        assert maintain(context).removed == 1
        assert collections(context) == {f"{uid}.v2" for uid in uids.values()}
        assert list(find_faults(context)) == []
        assert shown(context, index).keys() == set(uids.values())
        # A withdrawal leaves no way back to the patient in any version.
        subject = context.ledger.instances.of_study(grown)[0].subject
        assert withdraw(context, subject) == []
        mine = [ref for pair in pairs.items() if grown in pair for ref in pair]
        assert all(context.ledger.vault.sealed(ref) == b"" for ref in mine)
        assert find_studies(context, "drop", StudyQuery()) == []
        assert list(find_faults(context)) == []


KILLED = """
import os, signal, sys
from dataclasses import replace
from pacsgrid import grid
from pacsgrid.config import load_site
from pacsgrid.ledger.versions import Versions
from pacsgrid.pipeline import ProjectContext, clear_work_folders, run_step
from pacsgrid.pipeline.take import take
import pacsgrid.pipeline.steps

def die_after(owner, name):
    real = getattr(owner, name)
    def call(*given, **more):
        real(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, call)

place, *refs = sys.argv[1:]
owners = {"grid": grid, "versions": Versions, "steps": pacsgrid.pipeline.steps}
owner, name = place.split(".")
die_after(owners[owner], name)
site = load_site()
demo = site.projects["demo"].replace(profile="research")
with ProjectContext(replace(site, projects={**site.projects, "demo": demo}), "demo") as context:
    take(context, refs)
    for step in ("replicate", "verify"):
        run_step(context, step, refs)
    clear_work_folders(context, refs)
"""
PLACES = (
    "steps.put_study_documents",  # deposited, and the ledger does not know
    "versions.supersede",
    "versions.give_up",
    "grid.remove_version",  # removed from one zone of two
)


def test_a_kill_anywhere_between_deposit_and_removal_is_made_good(stack: Stack) -> None:
    fill(stack, 1)
    with ProjectContext(stack.site, "demo") as context:
        (old,) = go(context, find_studies(context, "drop", StudyQuery()))
    environment = {
        **os.environ,
        SITE_ENV: str(stack.dir / "site.yaml"),
        DSN_ENV: stack.postgres.dsn("ledger"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        (new,) = reprofile(context)
        for place in PLACES:
            child = subprocess.run([sys.executable, "-c", KILLED, place, new], env=environment)
            assert child.returncode == -signal.SIGKILL, place
            # One version at least is whole and verified, wherever it stopped.
            states = context.ledger.studies.states([old, new])
            assert StudyState.VERIFIED in states.values()
        assert context.ledger.versions.to_remove("demo") == [old]
        report = maintain(context)
        assert (report.failures, report.removed) == ([], 1)
        assert objects(context, old) == {} and len(objects(context, new)) == FILES
        (name,) = collections(context)
        assert name.endswith(".v2")
        assert list(find_faults(context)) == []
        assert maintain(context, everything=True).failures == []


def test_a_new_version_with_less_than_the_old_does_not_take_its_place(stack: Stack) -> None:
    fill(stack, 1)
    with ProjectContext(stack.site, "demo") as context:
        (old,) = go(context, find_studies(context, "drop", StudyQuery()))
    away = stack.drop / "0-0.dcm"
    content = away.read_bytes()
    away.unlink()
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        (new,) = reprofile(context)
        assert go(context, [new]) == []
        assert context.ledger.studies.held_code(new) == "fewer-instances"
        uid = context.ledger.instances.of_study(old)[0].study_uid
        assert set(select_cohort(context, Cohort(members=tuple([uid])))) == {old}
        assert (progress(context).outdated, progress(context).held) == (1, 1)
    away.write_bytes(content)
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        assert decide(context, new, Verdict.AGAIN, "steward", "it is back")
        assert go(context, [new]) == [new]
        assert context.ledger.studies.state(old) is StudyState.SUPERSEDED
        assert len(objects(context, new)) == FILES


def test_a_held_file_waits_for_a_steward_before_the_old_version_goes(stack: Stack) -> None:
    fill(stack, 1)
    with ProjectContext(stack.site, "demo") as context:
        (old,) = go(context, find_studies(context, "drop", StudyQuery()))
    file = stack.drop / "0-0.dcm"
    file.write_bytes(file.read_bytes()[:-500])
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        (new,) = reprofile(context)
        assert go(context, [new]) == [new]
        assert len(objects(context, new)) == FILES - 1
        assert maintain(context).removed == 0
        assert context.ledger.studies.state(old) is StudyState.VERIFIED
        decide(context, new, Verdict.REJECT, "steward", "it is damaged")
        assert maintain(context).removed == 1
        assert context.ledger.studies.state(old) is StudyState.SUPERSEDED


def test_a_zone_keeps_the_old_version_until_the_new_one_is_proven_there(stack: Stack) -> None:
    fill(stack, 1)
    with ProjectContext(stack.site, "demo") as context:
        (old,) = go(context, find_studies(context, "drop", StudyQuery()))
        (partner,) = context.project.partner_zones
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        (new,) = reprofile(context)
        take(context, [new])
        run_step(context, "replicate", [new])
        run_step(context, "verify", [new])
        context.ledger.proofs.remove_zone("demo", partner)
        clear_work_folders(context, [new])
        assert context.ledger.versions.to_remove("demo") == [old]
        zone = context.zone(partner)
        subject = context.ledger.instances.of_study(new)[0].subject
        path = f"/{partner}/home/demo/data/{subject}"
        assert len(zone.session.collections.get(path).subcollections) == 2
        assert maintain(context).removed == 1
        assert len(zone.session.collections.get(path).subcollections) == 1


def test_a_release_and_a_removal_never_cross(stack: Stack) -> None:
    fill(stack, 1)
    with ProjectContext(stack.site, "demo") as context:
        (old,) = go(context, find_studies(context, "drop", StudyQuery()))
        uid = context.ledger.instances.of_study(old)[0].study_uid
        selected = select_cohort(context, Cohort(members=tuple([uid])))
    with ProjectContext(with_profile(stack.site, "research"), "demo") as context:
        (new,) = reprofile(context)
        assert go(context, [new]) == [new]
        # The cohort was selected before the new version was there.
        with pytest.raises(RetryableError, match="newer version"):
            release_cohort(context, "late", selected)
        assert context.ledger.releases.versions("demo", "late") == []
        again = select_cohort(context, Cohort(members=tuple([uid])))
        assert set(again) == {new}
        release_cohort(context, "late", again)
    with ProjectContext(with_profile(stack.site, "strict"), "demo") as context:
        (third,) = reprofile(context, "s")
        assert go(context, [third]) == [third]
        assert not remove_version(context, new)
        assert context.ledger.studies.state(new) is StudyState.VERIFIED
        assert collections(context) == {f"{uid}.v2", f"{uid}.v3"}


def test_the_command_compares_and_starts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(stack, 1)
    with ProjectContext(stack.site, "demo") as context:
        (old,) = go(context, find_studies(context, "drop", StudyQuery()))
    new_site = with_profile(stack.site, "research")
    monkeypatch.setattr("pacsgrid.config.load_site", lambda: new_site)
    assert main(["reprofile", "preview", "demo"]) == 0
    told = capsys.readouterr().out
    assert f"{old}: 0 instances stay as they are, {FILES} change" in told
    assert f"  replaced: StudyDate (0008,0020) in {FILES}" in told
    assert "Nov" not in told and "756203" not in told and "2024" not in told
    assert [path.name for path in stack.site.staging.glob(".reprofile-*")] == []
    assert main(["reprofile", "start", "demo", "--reason", "dates are needed"]) == 0
    assert "1 studies are to be anonymised again" in capsys.readouterr().out
    assert main(["reprofile", "status", "demo"]) == 0
    assert "1 studies have another profile: 1 have a new version" in capsys.readouterr().out
    assert main(["reprofile", "preview", "demo"]) == 0
    assert "every study that its source can give again" in capsys.readouterr().out
