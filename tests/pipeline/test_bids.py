"""A release becomes a BIDS data set: valid, free of identity, resumable, incremental."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data.data_manager import DATA_ROOT
from pydicom.uid import MRImageStorage

from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV
from pacsgrid.config.bids import BidsRule, load_bids_rules
from pacsgrid.deid.check.identity import Identity
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError, HeldError, RetryableError
from pacsgrid.grid.fetch import fetch, stored_below
from pacsgrid.model import SeriesFacts, StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.bids import convert_studies, derive, finish, open_derivative
from pacsgrid.pipeline.bids.conversion import Image, converter
from pacsgrid.pipeline.bids.naming import name_images, rule_for
from pacsgrid.pipeline.bids.sidecars import IDENTIFYING, check_image, clean_sidecar
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.withdraw import withdraw
from scored.conversion import Volume, compare, read_nifti
from scored.conversion import convert as convert_plainly
from support.dicom import save
from support.series import series
from support.zones_under_test import bare_stack

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")
REAL = Path(DATA_ROOT) / "test_files" / "dicomdirtests" / "98892003" / "MR700"
# A checkout of neurolabusc/dcm_qa_nih, whose series are too large for this repository.
MORE = os.environ.get("PACSGRID_CONVERSION_SERIES", "")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with bare_stack(tmp_path / "stack") as stack:
        yield stack


def open_project(stack: Stack, **settings: object) -> ProjectContext:
    project = stack.site.project("demo").replace(profile="research", **settings)
    return ProjectContext(replace(stack.site, projects={"demo": project}), "demo")


def head(folder: Path, uid: str, person: int) -> None:
    """Write a study: a T1, a localizer, and a CT that BIDS has no datatype for."""
    who = f"98{person}203/1234"
    slices = [
        *series(folder, uid, 1, 8, "t1 mprage sag", patient_id=who),
        *series(folder, uid, 2, 3, "localizer", patient_id=who),
        *series(folder, uid, 4, 8, "t1 mprage sag", patient_id=who),
    ]
    for path in slices:
        ds = dcmread(path)
        ds.SOPClassUID, ds.Modality = MRImageStorage, "MR"
        ds.MagneticFieldStrength, ds.EchoTime, ds.RepetitionTime = 3, 2.9, 2300
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "GR", "SP", ""
        ds.PatientAge = "048Y"
        save(ds, path)
    series(folder, uid, 3, 4, "Kopf nativ 1.0", patient_id=who)


def ingest(context: ProjectContext) -> None:
    refs = find_studies(context, "drop", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs


def release(context: ProjectContext, name: str = "heads") -> str:
    wanted = [
        row.study_uid
        for record in context.ledger.studies.find("demo")
        for row in context.ledger.instances.of_study(record.ref)[:1]
    ]
    return release_cohort(context, name, select_cohort(context, Cohort(members=tuple(wanted))))


def errors_of(folder: Path) -> list[dict[str, str]]:
    """What the BIDS validator calls an error."""
    told = subprocess.run(
        [str(VALIDATOR), str(folder), "--json"],
        capture_output=True,
        check=False,
        env={**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
    )
    issues = json.loads(told.stdout)["issues"]["issues"]
    return [one for one in issues if one.get("severity") == "error"]


def test_a_release_becomes_a_valid_data_set_and_the_next_version_takes_it_over(
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for person in range(2):
        head(stack.drop, f"1.2.5.{person}", person)
    with open_project(stack) as context:
        ingest(context)
        release(context)
        derivative = open_derivative(context, "heads")
        first, second = derivative.pending()
        assert convert_studies(derivative, [first]) == {"converted": 1}
        with pytest.raises(RetryableError, match="1 of 2 studies are not converted yet"):
            finish(derivative)
        # A worker that dies before a study's record leaves nothing that the next trips over.
        with monkeypatch.context() as patched:
            patched.setattr(derive.grid, "put_document", _die)
            with pytest.raises(KeyboardInterrupt):
                convert_studies(derivative, [second])
        assert derivative.pending() == [second]
        assert convert_studies(derivative, [first, second]) == {"there": 1, "converted": 1}
        counts = {"studies": 2, "images": 6, "series_left": 2, "refused": 0}
        assert finish(derivative) == counts
        assert finish(derivative) == counts

        out = tmp_path / "out"
        assert fetch(context.home, derivative.root, out).bad == []
        assert errors_of(out) == []
        assert (out / ".bidsignore").read_text() == "sub-*/ses-*/ct\n"
        people = (out / "participants.tsv").read_text().splitlines()
        assert people[0].startswith("participant_id") and len(people) == 3
        names = [path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz")]
        assert sum(name.endswith("_run-1_T1w.nii.gz") for name in names) == 2
        assert sum("/ct/" in name for name in names) == 2
        left = [line.split("\t") for line in (out / "code/conversion.tsv").read_text().splitlines()]
        assert [line[4] for line in left if line[3] == "n/a"] == [
            "left out by exclude 1 of the rules"
        ] * 2
        everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
        for secret in (b"203/1234", b"1.2.5.", "Nováková".encode(), b"ACC-77123", b"Dvo"):
            assert secret not in everything
        for sidecar in out.rglob("sub-*.json"):
            assert not {"PatientID", "StudyInstanceUID", "AcquisitionTime"} & set(
                json.loads(sidecar.read_text())
            )
        # The DICOM files of the release stand where they stood, and nothing is left behind.
        assert next(stored_below(context.home, f"{derivative.collection}/manifest.json"))
        assert list((stack.site.outbox / ".bids").rglob("*.dcm")) == []

        head(stack.drop, "1.2.5.7", 7)
        ingest(context)
        assert release(context).endswith("/v2")
        newer = open_derivative(context, "heads")
        assert newer.version == 2 and len(newer.pending()) == 3
        assert convert_studies(newer, newer.pending()) == {"taken over": 2, "converted": 1}
        assert finish(newer)["images"] == 9
        assert fetch(context.home, newer.root, tmp_path / "new").bad == []
        assert errors_of(tmp_path / "new") == []
        for name in names:
            assert (tmp_path / "new" / name).read_bytes() == (out / name).read_bytes()

        # Other rules make other names, and what the old ones made goes.
        rules = tmp_path / "rules.yaml"
        rules.write_text(
            "exclude: [{description: kopf}]\nrules: [{modality: MR, description: t1,"
            " datatype: anat, suffix: T1w, entities: {acq: sag}}]\n"
        )
    with open_project(stack, bids_rules=rules) as context:
        other = open_derivative(context, "heads", 2)
        assert convert_studies(other, other.pending()) == {"converted": 3}
        finish(other)
        paths = [one.path for one in stored_below(context.home, other.root)]
        assert not any("/ct/" in path for path in paths)
        images = [path for path in paths if path.endswith(".nii.gz")]
        assert len(images) == 6 and all("_acq-sag_run-" in path for path in images)

        # A withdrawn patient's images go with the versions that have them.
        subject = next(iter(derivative.studies.values()))[0].path.split("/")[-4]
        assert withdraw(context, subject) == []
        versions = context.ledger.releases.versions("demo", "heads")
        assert [one.version for one in versions if one.retired_at is None] == [3, 4]
        left_paths = [one.path for one in stored_below(context.home, "/brno/home/demo")]
        assert not any(subject in path for path in left_paths)

    monkeypatch.setenv(SITE_ENV, str(stack.dir / "site.yaml"))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", stack.site.ledger_dsn)
    assert main(["bids", "demo", "heads"]) == 0
    assert "/brno/home/demo/releases/heads/v4/bids: 2 studies" in capsys.readouterr().out
    assert main(["bids", "demo", "heads", "--version", "1"]) == 2


def _die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(REAL, id="pydicom"),
        pytest.param(
            Path(MORE),
            id="PACSGRID_CONVERSION_SERIES",
            marks=pytest.mark.skipif(not MORE, reason="no series named"),
        ),
    ],
)
def test_real_series_convert_as_their_originals_do(
    stack: Stack, tmp_path: Path, folder: Path
) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    by_series: dict[str, list[Path]] = {}
    for number, path in enumerate(files):
        try:
            uid = str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
        except Exception:
            continue  # a read-me
        target = stack.drop / f"{number:05}.dcm"
        shutil.copyfile(path, target)
        by_series.setdefault(uid, []).append(target)
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{modality: MR, datatype: mr, suffix: mr}]\n")
    with open_project(stack, bids_rules=rules) as context:
        ingest(context)
        release(context)
        derivative = open_derivative(context, "heads")
        convert_studies(derivative, derivative.pending())
        assert finish(derivative)["refused"] == 0
        out = tmp_path / "out"
        assert fetch(context.home, derivative.root, out).bad == []
        records = [json.loads(path.read_text()) for path in out.glob("code/conversion/*.json")]
        made = {context.pseudonyms.uid(uid): some for uid, some in sorted(by_series.items())}
        seen = 0
        for uid, some in made.items():
            before = convert_plainly(converter(), some, tmp_path / "before")
            paths = [
                out / one["path"]
                for record in records
                for one in record["files"]
                if one["series"] == uid and one["path"].endswith(".nii.gz")
            ]
            after = _volumes(paths, tmp_path / "after")
            assert len(before) == len(after)
            for (name, old), new in zip(sorted(before.items()), after, strict=True):
                # Who and when are left out on purpose.
                for key in IDENTIFYING:
                    old.sidecar.pop(key, None)
                difference = compare({name: old}, {name: new})
                assert difference.physics == [] and not difference.mirrored
                seen += 1
        assert seen


def _volumes(paths: list[Path], work: Path) -> list[Volume]:
    volumes = []
    for path in sorted(paths):
        plain = work / "x.nii"
        plain.parent.mkdir(exist_ok=True)
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        volume = read_nifti(plain)
        stem = path.name.removesuffix(".nii.gz")
        volume.sidecar = json.loads(path.with_name(f"{stem}.json").read_text())
        for suffix in ("bval", "bvec"):
            if (beside := path.with_name(f"{stem}.{suffix}")).exists():
                setattr(volume, suffix, " ".join(beside.read_text().split()))
        volumes.append(volume)
    return volumes


def _image(mark: str = "", dimensions: int = 3, **sidecar: object) -> Image:
    return Image(Path("x.nii.gz"), mark, dimensions, ("TE=3;Time=0.000",), dict(sidecar))


BOLD = BidsRule(description="rest", datatype="func", suffix="bold", entities={"task": "rest"})
T1 = BidsRule(description="t1", datatype="anat", suffix="T1w")


def test_names_say_task_echo_part_and_run() -> None:
    found = [
        ("1.1", BOLD, _image("e1", 4)),
        ("1.1", BOLD, _image("e2", 4)),
        ("1.1", BOLD, _image("e2_ph", 4)),
        ("1.2", BOLD, _image("", 3)),
        ("1.3", T1, _image()),
        ("1.4", T1, _image()),
    ]
    names = [one.stem for one in name_images("SAB12", "2.25.1", found)]
    start = names[0].split("/func/")[0]
    prefix = start.replace("/", "_")
    assert [name.removeprefix(start).replace(prefix, "@") for name in names] == [
        "/func/@_task-rest_echo-1_bold",
        "/func/@_task-rest_echo-2_bold",
        "/func/@_task-rest_echo-2_part-phase_bold",
        "/func/@_task-rest_sbref",
        "/anat/@_run-1_T1w",
        "/anat/@_run-2_T1w",
    ]


@pytest.mark.parametrize(
    ("description", "image_type", "suffix"),
    [
        ("t1_mprage_sag", "ORIGINAL\\PRIMARY\\M", "T1w"),
        ("t2_space_dark-fluid", "ORIGINAL\\PRIMARY\\M", "FLAIR"),
        ("ep2d_diff_mddw", "ORIGINAL\\PRIMARY\\DIFFUSION", "dwi"),
        ("ep2d_diff_mddw_ADC", "DERIVED\\PRIMARY\\DIFFUSION\\ADC", ""),
        ("rfMRI REST AP", "ORIGINAL\\PRIMARY\\M", "bold"),
        ("AAHead_Scout", "ORIGINAL\\PRIMARY\\M", ""),
        ("something else", "ORIGINAL\\PRIMARY\\M", ""),
    ],
)
def test_rules_that_come_with_pacsgrid(description: str, image_type: str, suffix: str) -> None:
    facts = SeriesFacts("1", "MR", description, "", frozenset({image_type}), None, None, 9)
    rule, why = rule_for(load_bids_rules(None), facts)
    assert (rule.suffix if rule else "") == suffix and bool(why) is not bool(rule)


def test_a_sidecar_that_identifies_is_refused() -> None:
    (named,) = name_images(
        "SAB12", "2.25.1", [("1", T1, _image(PatientID="x", Note="seen with 756203/1234"))]
    )
    sidecar = clean_sidecar(named)
    assert "PatientID" not in sidecar
    check_image(named, sidecar, Identity())
    with pytest.raises(HeldError, match="the key PatientID"):
        check_image(named, {"PatientID": "x"}, Identity())
    with pytest.raises(HeldError, match="Note of a converted image") as error:
        check_image(named, sidecar, Identity(ids={"756203/1234"}))
    assert "756203" not in str(error.value)
    with pytest.raises(HeldError, match="identity-left"):
        check_image(
            named, {"Deep": {"List": ["uid 1.2.3.44"]}}, Identity(original_uids={b"1.2.3.44"})
        )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [{description: t1, datatype: ../x, suffix: T1w}]", "must be letters and digits"),
        ("rules: [{description: r, datatype: func, suffix: bold}]", "needs entities"),
        ("rules: [{datatype: anat, suffix: T1w}]", "would match every series"),
        ("rules: [{description: t, datatype: a, suffix: b, entities: {sub: x}}]", "among task"),
        ("rules: {", "is no YAML file"),
        ("", "must have keys"),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_bids_rules(file)
