"""A cohort by what the images are, over two zones: counted, searched, released and fetched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from irods.column import Criterion, Like
from irods.models import Collection, CollectionMeta
from pydicom import dcmread

from pacsgrid.airflow import cohorts as dag
from pacsgrid.cli import main
from pacsgrid.cohort_query import parse
from pacsgrid.config import SITE_ENV
from pacsgrid.config.projects import ReleaseGate
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError
from pacsgrid.grid import Zone
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.grid.release_tickets import issue_release_tickets
from pacsgrid.ledger.cohort_index import Selection
from pacsgrid.model import StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohort_upkeep import index_pending
from pacsgrid.pipeline.cohorts import Cohort, count_cohort, hide_small, select_cohort
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.release import reissue_releases_without, release_cohort
from pacsgrid.pipeline.thumbnails import series_thumbnail
from support.dicom import ct, save
from support.zones_under_test import bare_stack

QUERY = (
    "Modality = CT and BodyPartExamined = CHEST and SliceThickness <= 1.5 and"
    " PatientAge = 60..70 and not has ContrastBolusAgent"
)
# Patient, age, body part, thickness and contrast agent of each series of a study of one's own.
STUDIES = {
    "P1": ("064Y", [("CHEST", "1.25", ""), ("CHEST", "1.25", "IODINE")]),
    "P2": ("066Y", [("CHEST", "1.5", "")]),
    "P3": ("066Y", [("CHEST", "5", "")]),
    "P4": ("045Y", [("CHEST", "1", "")]),
    "P5": ("061Y", [("HEAD", "1", "")]),
}


def drop_study(folder: Path, number: int, patient: str) -> None:
    age, series = STUDIES[patient]
    study = f"1.2.3.{number}"
    for place, (part, thickness, contrast) in enumerate(series):
        for slice_number in range(2):
            path = folder / f"{patient}-{place}-{slice_number}.dcm"
            ct(path, study, f"{study}.{place}.{slice_number}", fill=number, patient_id=patient)
            ds = dcmread(path)
            ds.SeriesInstanceUID = f"{study}.{place}"
            ds.PatientAge, ds.BodyPartExamined, ds.SliceThickness = age, part, thickness
            ds.ContrastBolusAgent = contrast
            save(ds, path)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bare_stack(tmp_path_factory.mktemp("cohorts") / "stack") as stack:
        for number, patient in enumerate(STUDIES):
            drop_study(stack.drop, number, patient)
        with ProjectContext(stack.site, "demo", profile="research") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            assert len(refs) == len(STUDIES)
        yield stack


@pytest.fixture
def context(stack: Stack) -> Iterator[ProjectContext]:
    with ProjectContext(stack.site, "demo", profile="research") as context:
        yield context


def collections(zone: Zone, name: str, operator: str, value: str) -> set[str]:
    """What ``iquest`` finds: collections of series with an AVU, compared as numbers by ``n<=``."""
    matches = Criterion(operator, CollectionMeta.value, value)
    rows = zone.session.query(Collection.name).filter(
        Like(Collection.name, f"/{zone.settings.name}/home/demo/data/%/%/%"),
        Criterion("=", CollectionMeta.name, name),
        matches,
    )
    return {row[Collection.name] for row in rows}


def signed_in(zone: Zone, folder: Path) -> dict[str, str]:
    """Sign in with ``iinit``; returns the environment of the commands that follow."""
    folder.mkdir()
    settings = zone.settings
    environment = folder / "environment.json"
    account = {
        "irods_host": settings.host,
        "irods_port": settings.port,
        "irods_user_name": settings.user,
        "irods_zone_name": settings.name,
        "irods_authentication_file": str(folder / "password"),
    }
    environment.write_text(json.dumps(account))
    env = {**os.environ, "IRODS_ENVIRONMENT_FILE": str(environment)}
    password = settings.password.get_secret_value()
    subprocess.run(["iinit"], env=env, input=f"{password}\n", text=True, check=True)
    return env


def iget(zone: Zone, script: str, folder: Path) -> dict[str, bytes]:
    """Carry out a release's commands with iCommands, and return the files that they fetch."""
    env = signed_in(zone, folder)
    subprocess.run(["sh", "-ec", script], cwd=folder, env=env, check=True)
    return {path.name: path.read_bytes() for path in folder.rglob("*.dcm")}


def iquest(env: dict[str, str], zone: str, name: str) -> dict[str, set[str]]:
    """What ``iquest`` prints for an attribute: its values by the collection of the series."""
    query = (
        "SELECT META_COLL_ATTR_VALUE, COLL_NAME"
        f" WHERE COLL_NAME LIKE '/{zone}/home/demo/data/%/%/%' AND META_COLL_ATTR_NAME = '{name}'"
    )
    command = ["iquest", "--no-page", "%s\t%s", query]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    found: dict[str, set[str]] = {}
    if done.returncode:
        assert "CAT_NO_ROWS_FOUND" in done.stdout + done.stderr
    else:
        for line in done.stdout.splitlines():
            value, collection = line.split("\t")
            found.setdefault(collection, set()).add(value)
    return found


def by_catalog(zone: Zone) -> set[str]:
    """The same cohort from a zone's catalog: series UIDs."""
    found = (
        collections(zone, "Modality", "=", "CT")
        & collections(zone, "BodyPartExamined", "=", "CHEST")
        & collections(zone, "SliceThickness", "n<=", "1.5")
        & collections(zone, "PatientAge", "n>=", "60")
        & collections(zone, "PatientAge", "n<=", "70")
    ) - collections(zone, "ContrastBolusAgent", "like", "%")
    return {path.rsplit("/", 1)[1] for path in found}


def test_the_same_series_are_found_by_query_and_in_both_catalogs(context: ProjectContext) -> None:
    found = context.ledger.cohorts.series_of(Selection("demo", parse(QUERY)))
    series = {uid for uids in found.values() for uid in uids}
    assert len(found) == len(series) == 2
    for zone in (context.home, *context.partners):
        assert by_catalog(zone) == series
        here = Selection("demo", parse(f"{QUERY} and zone = {zone.settings.name}"))
        assert context.ledger.cohorts.series_of(here) == found
    ref, rows = context.ledger.instances.of_verified_series("demo", min(series)) or ("", [])
    assert ref in found and {row.series_uid for row in rows} == {min(series)}
    assert series_thumbnail(context, rows).startswith(b"\x89PNG")
    assert context.ledger.instances.of_verified_series("other", min(series)) is None
    nowhere = Selection("demo", parse(f"{QUERY} and zone = elsewhere"))
    assert context.ledger.cohorts.series_of(nowhere) == {}


def test_it_is_counted_saved_released_and_fetched(
    stack: Stack,
    context: ProjectContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(SITE_ENV, str(stack.dir / "site.yaml"))
    assert main(["cohort", "demo", QUERY, "--save", "thin", "--series"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("2 subjects, 2 studies, 6 instances") and len(told) == 3
    assert all("CT, CHEST" in line for line in told[1:])
    params = {"project": "demo", "name": "thin", "saved": "thin", "matching_series": True}
    counted = dag.count(params)
    assert "2 subjects, 2 studies, 4 instances" in counted["body"]
    version = dag.freeze(params, counted["digest"])
    assert main(["cohort", "demo", "Modality < 3"]) == 2
    assert "character 10" in capsys.readouterr().err
    out = tmp_path / "out"
    assert fetch_release(context.home, version, out).bad == []
    fetched = [dcmread(path) for path in out.rglob("*.dcm")]
    assert len(fetched) == 4 and not any(ds.get("ContrastBolusAgent") for ds in fetched)
    tickets = issue_release_tickets(context.home, version, datetime.now(UTC) + timedelta(days=1))
    assert sorted(place.count("/") for place in tickets.studies) == [2, 3]
    # Of the study that has a series with contrast, the other series alone.
    readme = context.home.session.data_objects.open(f"{version}/README.md", "r").read().decode()
    (line,) = (line for line in readme.splitlines() if "iget" in line)
    if shutil.which("iget"):
        assert iget(context.home, line.strip(), tmp_path / "iget") == {
            path.name: path.read_bytes() for path in out.rglob("*.dcm")
        }


@pytest.mark.skipif(shutil.which("iquest") is None, reason="needs iCommands")
def test_iquest_finds_it_in_both_zones_and_iget_fetches_it(
    context: ProjectContext, tmp_path: Path
) -> None:
    found = context.ledger.cohorts.series_of(Selection("demo", parse(QUERY)))
    series = {uid for uids in found.values() for uid in uids}
    fetched = []
    for zone in (context.home, *context.partners):
        name = zone.settings.name
        env = signed_in(zone, tmp_path / name)
        values = {
            attribute: iquest(env, name, attribute)
            for attribute in (
                "Modality",
                "BodyPartExamined",
                "SliceThickness",
                "PatientAge",
                "ContrastBolusAgent",
            )
        }
        # iquest of iRODS 5 refuses n<=, which compares numbers.
        chosen = {
            path
            for path, modalities in values["Modality"].items()
            if "CT" in modalities
            and "CHEST" in values["BodyPartExamined"].get(path, ())
            and any(float(one) <= 1.5 for one in values["SliceThickness"].get(path, ()))
            and any(60 <= float(one) <= 70 for one in values["PatientAge"].get(path, ()))
            and path not in values["ContrastBolusAgent"]
        }
        assert {path.rsplit("/", 1)[1] for path in chosen} == series
        for path in sorted(chosen):
            subprocess.run(["iget", "-r", path], cwd=tmp_path / name, env=env, check=True)
        fetched.append({one.name: one.read_bytes() for one in (tmp_path / name).rglob("*.dcm")})
    sums = {
        f"{row.sop_uid}.dcm": row.sha256
        for ref, uids in found.items()
        for row in context.ledger.instances.of_study(ref)
        if row.series_uid in uids
    }
    for files in fetched:
        assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == sums
    assert len(fetched) == 2 and len(sums) == 4


def test_what_a_release_leaves_out_stays_out_after_a_withdrawal(context: ProjectContext) -> None:
    contrast = Selection("demo", parse("has ContrastBolusAgent"))
    ((partial, excluded),) = context.ledger.cohorts.series_of(contrast).items()
    cohort = Cohort(("PatientAge >= 60",), excluded=frozenset(excluded))
    members = select_cohort(context, cohort)
    release_cohort(context, "plain", members)
    gone = next(ref for ref in members if ref != partial)
    kept = {row.sop_uid for ref, rows in members.items() if ref != gone for row in rows}
    version = "/brno/home/demo/releases/plain/v2"
    of_verified = context.ledger.instances.of_verified_studies
    # As a withdrawal does, once its studies are no longer verified.
    context.ledger.studies.reopen(gone)
    try:
        reissue_releases_without(context, [gone])
    finally:
        for name in STEPS:
            assert run_step(context, name, [gone]).refs == [gone]
    text = context.home.session.data_objects.open(f"{version}/manifest.json", "r").read()
    listed = {one["path"].rsplit("/", 1)[1][:-4] for one in json.loads(text)["objects"]}
    assert listed == kept and not listed & {
        row.sop_uid
        for rows in of_verified(list(members)).values()
        for row in rows
        if row.series_uid in excluded
    }


def test_the_gate_refuses_drops_or_keeps_small_cells(stack: Stack) -> None:
    gate = ReleaseGate(smallest_cell=2, quasi_identifiers=("age", "body_part"))
    projects = {"demo": stack.site.projects["demo"].replace(release_gate=gate)}
    with ProjectContext(replace(stack.site, projects=projects), "demo") as context:
        everything = Cohort(("Modality = CT",))
        assert count_cohort(context, everything).studies == 5
        with pytest.raises(ConfigError, match="2 studies are in 2 cells with fewer than 2"):
            select_cohort(context, everything)
        dropped = select_cohort(context, Cohort(("Modality = CT",), small_cells="drop"))
        assert len(dropped) == 3
        assert len(select_cohort(context, Cohort(("Modality = CT",), small_cells="keep"))) == 5
    assert [hide_small(count, 5) for count in (0, 4, 5, 9, 12)] == [0, None, 5, 5, 10]


def test_studies_of_before_are_indexed_and_get_their_avus(context: ProjectContext) -> None:
    cohort = Selection("demo", parse(QUERY))
    found = context.ledger.cohorts.series_of(cohort)
    database = context.ledger.database
    database.run("DELETE FROM pacsgrid.cohort_study")
    database.run(
        "INSERT INTO pacsgrid.cohort_pending SELECT ref, project FROM pacsgrid.study"
        " WHERE state = 'verified'"
    )
    for zone in (context.home, *context.partners):
        for path in collections(zone, "PatientAge", "like", "%"):
            metadata = zone.session.collections.get(path).metadata
            for name in ("PatientAge", "SliceThickness"):
                for avu in metadata.get_all(name):
                    metadata.remove(avu)
        assert by_catalog(zone) == set()
    assert context.ledger.cohorts.series_of(cohort) == {}
    assert maintain(context).indexed == len(STUDIES)
    assert context.ledger.cohorts.series_of(cohort) == found
    for zone in (context.home, *context.partners):
        assert by_catalog(zone) == {uid for uids in found.values() for uid in uids}
    assert index_pending(context) == 0
