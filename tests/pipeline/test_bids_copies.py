"""BIDS data sets are in every zone of a project: proven, repaired, kept up to date, removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from irods.column import Like
from irods.models import Collection, DataObject

from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV
from pacsgrid.embedded.stack import DSN_ENV, Stack
from pacsgrid.grid import Zone
from pacsgrid.grid.fetch import fetch
from pacsgrid.ledger.data_sets import DataSet, DataSetCopy
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.bids import convert_studies, finish, open_derivative, replicate
from pacsgrid.pipeline.bids.copies import maintain_copies
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.doctor import find_faults
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.withdraw import withdraw
from support.series import series
from support.zones_under_test import bare_stack

COPIES = {"brno": 2, "praha": 1}
NOW = datetime.now(UTC)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with bare_stack(tmp_path / "stack") as stack:
        yield stack


@pytest.fixture
def context(stack: Stack) -> Iterator[ProjectContext]:
    project = stack.site.project("demo").replace(profile="research")
    with ProjectContext(replace(stack.site, projects={"demo": project}), "demo") as context:
        yield context


def ingest(context: ProjectContext, stack: Stack, *people: int) -> list[str]:
    """Ingest a study of each, and give all subjects of the project."""
    for person in people:
        series(stack.drop, f"1.2.5.{person}", 1, 4, "Kopf nativ", patient_id=f"98{person}203/1234")
    refs = find_studies(context, "drop", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    known = [one.ref for one in context.ledger.studies.find("demo")]
    return sorted(set(context.ledger.instances.subjects_of(known).values()))


def release(context: ProjectContext) -> int:
    members = select_cohort(context, Cohort(("Modality = CT",)))
    return int(release_cohort(context, "heads", members).rpartition("/v")[2])


def derive(context: ProjectContext, version: int = 0) -> DataSet:
    derivative = open_derivative(context, "heads", version)
    convert_studies(derivative, derivative.pending())
    finish(derivative)
    return derivative.data_set


def replicas(zone: Zone, version: int) -> dict[str, list[Path]]:
    """The files in the vaults, of each object of the data set that the catalog calls good."""
    root = f"/{zone.settings.name}/home/demo/releases/heads/v{version}/bids"
    found: dict[str, list[Path]] = {}
    for where in (Collection.name == root, Like(Collection.name, f"{root}/%")):
        columns = (Collection.name, DataObject.name, DataObject.path, DataObject.replica_number)
        for row in zone.rows(columns, where, DataObject.replica_status == "1"):
            path = f"{row[Collection.name]}/{row[DataObject.name]}".removeprefix(f"{root}/")
            found.setdefault(path, []).append(Path(row[DataObject.path]))
    return found


def is_everywhere(context: ProjectContext, data_set: DataSet) -> bool:
    """Whether each zone has the policy's replicas of each file, with the right bytes."""
    files = {one.path: one.sha256 for one in context.ledger.data_sets.files(data_set)}
    for zone in (context.home, *context.partners):
        there = replicas(zone, data_set.version)
        assert there.keys() == files.keys()
        for path, some in there.items():
            assert len(some) == COPIES[zone.settings.name], path
            assert {sha256(one.read_bytes()).hexdigest() for one in some} == {files[path]}
    return bool(files)


def copies(context: ProjectContext) -> dict[str, DataSetCopy]:
    return {one.zone: one for one in context.ledger.data_sets.copies("demo")}


def test_a_data_set_is_copied_proven_repaired_and_follows_its_release(
    context: ProjectContext, stack: Stack, tmp_path: Path
) -> None:
    gone, _ = ingest(context, stack, 1, 2)
    assert release(context) == 1
    data_set = derive(context)
    files = len(context.ledger.data_sets.files(data_set))
    done = replicate(context, "heads", 1)
    assert (done.proven, done.copied, done.postponed) == (2, files, 0)
    assert is_everywhere(context, data_set)
    told = copies(context)
    assert {name: one.replicas for name, one in told.items()} == {
        "brno": 2 * files, "praha": files,
    }  # fmt: skip
    # Readers of the partner zone fetch the same.
    (partner,) = context.partners
    assert fetch(partner, "/praha/home/demo/releases/heads/v1/bids", tmp_path / "out").bad == []
    # Once more there is nothing to do, and maintenance proves it again when it is due only.
    assert replicate(context, "heads", 1).copied == 0
    proven = copies(context)["praha"].proven_at
    assert maintain_copies(context, datetime.now(UTC)).proven == 0
    assert copies(context)["praha"].proven_at == proven

    # What is damaged, lost at the partner, or lost at home is made good from what is proven.
    image = next(path for path in replicas(context.home, 1) if path.endswith(".nii.gz"))
    for zone in (context.home, partner):
        file = replicas(zone, 1)[image][0]
        content = file.read_bytes()
        file.write_bytes(b"\xff" + content[1:])
    root = "home/demo/releases/heads/v1/bids"
    for zone, name in ((partner, "participants.tsv"), (context.home, "README.md")):
        zone.session.data_objects.unlink(f"/{zone.settings.name}/{root}/{name}", force=True)
    report = maintain(context, datetime.now(UTC) + timedelta(days=40))
    assert report.failures == [] and report.copied == 3 and report.repaired >= 1
    assert is_everywhere(context, data_set)
    assert list(find_faults(context)) == []

    # A new version copies what it has; the old one stays until it is removed.
    ingest(context, stack, 3)
    assert release(context) == 2
    newer = derive(context)
    assert len(context.ledger.data_sets.files(newer)) > files
    report = maintain(context)
    assert report.failures == []
    assert is_everywhere(context, newer) and is_everywhere(context, data_set)

    # Images of a withdrawn patient leave every zone.
    assert withdraw(context, gone) == []
    versions = context.ledger.releases.versions("demo", "heads")
    assert [one.version for one in versions if one.retired_at is None] == [3, 4]
    for zone in (context.home, partner):
        where = Like(Collection.name, f"/{zone.settings.name}/home/demo/%")
        rows = zone.rows((Collection.name, DataObject.name), where)
        assert not [row for row in rows if gone in f"{row[Collection.name]}/{row[DataObject.name]}"]
        assert replicas(zone, 1) == replicas(zone, 2) == {}
    assert copies(context) == {} and context.ledger.data_sets.files(data_set) == []
    assert context.ledger.data_sets.files(newer) == []
    assert context.ledger.data_sets.copies("demo", retired=True) == []


def test_other_rules_change_every_copy_and_nothing_outdated_comes_back(
    context: ProjectContext, stack: Stack, tmp_path: Path
) -> None:
    ingest(context, stack, 1)
    release(context)
    data_set = derive(context)
    replicate(context, "heads", 1)
    before = set(replicas(context.home, 1))
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{modality: CT, datatype: ct, suffix: ct, entities: {acq: plain}}]\n")
    project = context.project.replace(bids_rules=rules)
    with ProjectContext(replace(context.site, projects={"demo": project}), "demo") as other:
        derivative = open_derivative(other, "heads")
        convert_studies(derivative, derivative.pending())
        # Between conversion and `finish`, a copy is no source of what is outdated.
        assert maintain(other, everything=True).failures == []
        assert not [path for path in replicas(other.home, 1) if path.endswith("_ct.nii.gz")
                    and "acq-plain" not in path]  # fmt: skip
        finish(derivative)
        assert maintain(other).failures == []
        assert is_everywhere(other, data_set)
    after = set(replicas(context.partners[0], 1))
    assert before != after and all("acq-plain" in one for one in after if one.endswith(".nii.gz"))


KILLED = """
import os, signal, sys
from dataclasses import replace
from pacsgrid.config import load_site
from pacsgrid.grid import file_set
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.bids import replicate

calls = 0
real = file_set.put_object
def put(*given):
    global calls
    calls += 1
    real(*given)
    if calls >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
file_set.put_object = put
with ProjectContext(load_site(), "demo") as context:
    replicate(context, "heads", 1)
"""


def test_a_killed_copy_goes_on_and_a_partner_that_was_away_gets_its_copy(
    context: ProjectContext,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ingest(context, stack, 1)
    release(context)
    data_set = derive(context)
    environment = {
        **os.environ,
        SITE_ENV: str(stack.dir / "site.yaml"),
        DSN_ENV: stack.postgres.dsn("ledger"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    for after in ("2", "1"):
        child = subprocess.run([sys.executable, "-c", KILLED, after], env=environment)
        assert child.returncode == -signal.SIGKILL
    there = len(replicas(context.partners[0], 1))
    files = len(context.ledger.data_sets.files(data_set))
    assert 0 < there <= files and copies(context)["praha"].proven_at is None
    stack.zones["praha"].kill()
    away = maintain(context)
    assert away.postponed >= 1 and copies(context)["praha"].proven_at is None
    lacking = [one for one in find_faults(context) if "data set" in one.rule]
    assert lacking == []  # it is not late yet
    context.ledger.database.run(
        "UPDATE pacsgrid.data_set_file SET listed_at = listed_at - interval '4 days'"
    )
    lacking = [one for one in find_faults(context) if "data set" in one.rule]
    assert [(one.where, one.what) for one in lacking] == [("heads v1", "praha")]
    assert copies(context)["brno"].proven_at is not None
    stack.start_zone("praha")
    done = maintain(context, datetime.now(UTC) + timedelta(hours=12))
    assert done.failures == [] and is_everywhere(context, data_set)
    monkeypatch.setenv(SITE_ENV, str(stack.dir / "site.yaml"))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", stack.site.ledger_dsn)
    assert main(["bids", "demo", "heads"]) == 0
    assert "proven in 2 zones, 0 files copied\n" in capsys.readouterr().out
