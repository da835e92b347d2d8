"""Results come back: checked, kept beside their study, proven, found, withdrawn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from dicomweb_client.api import DICOMwebClient
from irods.models import DataObject
from pydicom import Dataset, dcmread, dcmwrite

from pacsgrid import grid
from pacsgrid.cli import main
from pacsgrid.config import Peer, Token
from pacsgrid.config.returns import ReturnSection
from pacsgrid.embedded.pacs import EmbeddedPacs
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.dimse.service import Node
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.index_refresh import refresh
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import (
    STEPS,
    ProjectContext,
    clear_work_folders,
    find_studies,
    issued_uids,
    run_step,
    waves,
)
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.doctor import find_faults
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.reprofile import enter_new_versions, progress
from pacsgrid.pipeline.results import decide_release, deposit_result
from pacsgrid.pipeline.return_results import return_result
from pacsgrid.pipeline.withdraw import withdraw
from support import results
from support.served_zones import Listening
from support.zones_under_test import bare_stack

RODS = "rods#brno"
STUDY, OTHER = "1.2.826.0.77", "1.2.826.0.78"


@dataclass
class Site:
    """A site whose gateway takes results, and the study that they are made of."""

    stack: Stack
    gateway: Gateway
    root: str
    port: int
    originals: list[Dataset]

    @property
    def images(self) -> list[Dataset]:
        """Copies, since highdicom's objects share elements with their source images."""
        return deepcopy(self.originals)

    def client(self, token: str = "lab") -> DICOMwebClient:
        return DICOMwebClient(self.root, headers={"Authorization": f"Bearer {token}"})

    def post(self, *objects: Dataset, token: str = "lab") -> tuple[int, dict[str, Any]]:
        body = b""
        for ds in objects:
            file = BytesIO()
            dcmwrite(file, ds, enforce_file_format=True)
            body += b"--B\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n"
        answer = requests.post(
            f"{self.root}/studies",
            body + b"--B--\r\n",
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=B',
            },
            timeout=120,
        )
        return answer.status_code, answer.json()

    def refused(self, ds: Dataset) -> tuple[int, str]:
        """Send an object that must be refused; give its failure reason and comment."""
        status, answer = self.post(ds)
        assert status == 409 and "00081199" not in answer
        (failure,) = answer["00081198"]["Value"]
        assert failure["00081155"]["Value"] == [str(ds.SOPInstanceUID)]
        return failure["00081197"]["Value"][0], failure["00000902"]["Value"][0]


def ingest(context: ProjectContext) -> None:
    refs = find_studies(context, "drop", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs
    clear_work_folders(context, refs)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with bare_stack(tmp_path_factory.mktemp("results") / "stack") as stack:
        results.volume(stack.drop, STUDY)
        results.volume(stack.drop, OTHER, 1, patient="Dvořák^Karel", patient_id="8001011234")
        tokens = [
            Token(name=name, user=RODS, sha256=sha256(name.encode()).hexdigest(), results=result)
            for name, result in (("lab", "nodules"), ("reader", ""))
        ]
        peers = (Peer(ae_title="LAB", user=RODS, results="by-dimse"), Peer(ae_title="X", user=RODS))
        assert stack.site.gateway is not None
        settings = stack.site.gateway.model_copy(
            update={
                "tokens": tuple(tokens),
                "peers": peers,
                "dicom_port": 0,
                "access_seconds": 0.001,
            }
        )
        served = replace(stack.site, gateway=settings)
        with ProjectContext(served, "demo") as context:
            ingest(context)
        with (
            Gateway(served) as gateway,
            Listening(application(gateway)) as server,
            Node(gateway) as node,
        ):
            gateway.refresh()
            root = server.url + PREFIX
            client = DICOMwebClient(root, headers={"Authorization": "Bearer lab"})
            studies = client.search_for_studies()
            series = [client.retrieve_study(study["0020000D"]["Value"][0]) for study in studies]
            images = sorted(max(series, key=len), key=lambda ds: int(ds.InstanceNumber))
            assert len(images) == 3
            yield Site(stack, gateway, root, node.port, images)


@pytest.fixture
def context(site: Site) -> Iterator[ProjectContext]:
    with ProjectContext(site.stack.site, "demo", "test") as context:
        yield context


def test_every_kind_is_kept_proven_and_found(site: Site, context: ProjectContext) -> None:
    made = {kind: make(site.images) for kind, make in results.ALL.items()}
    status, answer = site.post(*made.values())
    assert status == 200, answer
    site.gateway.results.wait()
    study = str(site.images[0].StudyInstanceUID)
    (result,) = context.ledger.results.of_project("demo", study)
    assert context.ledger.studies.state(result.ref) is StudyState.VERIFIED
    assert not context.folders(result.ref).outbox.exists()
    rows = {row.sop_uid: row for row in context.ledger.instances.of_study(result.ref)}
    assert set(rows) == {str(ds.SOPInstanceUID) for ds in made.values()}
    proofs = context.ledger.proofs.of_study(result.ref)
    assert all(proof.good for proof in proofs)
    # Two replicas at home and one at the partner, as the policy asks for.
    assert len(proofs) == 3 * len(rows)
    where = grid.study_collection("brno", "demo", site.images[0].PatientID, study)
    text = grid.get_document(context.home, f"{where}/results/nodules/result.json")
    assert text is not None
    told = json.loads(text)["objects"]
    assert {one["sop"] for one in told} == set(rows)
    assert {one["sent_by"] for one in told} == {RODS}
    assert {one["software"] for one in told} == {"Grid Lab nodule-net 2.1"}
    site.gateway.refresh()
    client = site.client()
    for ds in made.values():
        (found,) = client.search_for_instances(
            search_filters={"SOPInstanceUID": str(ds.SOPInstanceUID)}
        )
        assert found["0020000D"]["Value"] == [study]
        got = client.retrieve_instance(study, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert got.SOPClassUID == ds.SOPClassUID
    (whole,) = client.search_for_studies(search_filters={"StudyInstanceUID": study})
    assert whole["00201206"]["Value"] == [1 + len(made)]
    assert set(whole["00080061"]["Value"]) >= {"CT", "SEG", "SR", "RTSTRUCT", "PR"}
    # The same again changes nothing, and nobody may put another object in its place.
    before = context.ledger.audit.changes(result.ref)
    assert site.post(made["segmentation"])[0] == 200
    assert context.ledger.audit.changes(result.ref) == before
    changed = made["report"]
    changed.ContentDate = "20200101"
    assert site.refused(changed)[0] == 0x0111
    assert list(find_faults(context)) == []


def _edit(change: Callable[[Dataset], None]) -> Callable[[Site], Dataset]:
    def make(site: Site) -> Dataset:
        ds = results.segmentation(site.images)
        change(ds)
        return ds

    return make


def _refer_elsewhere(ds: Dataset) -> None:
    for item in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        item.ReferencedSOPInstanceUID = "2.25.1"


def _text(keyword: str, value: str) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


REFUSED: dict[str, tuple[Callable[[Dataset], None], int, str]] = {
    "a dangling reference": (_refer_elsewhere, 0x0112, "reference-missing"),
    "another patient": (_text("PatientID", "S" + "A" * 12), 0x0106, "identity-left"),
    "a name": (_text("PatientName", "Nováková^Žofie"), 0x0106, "identity-left"),
    "a name in a text": (
        _text("SeriesDescription", "nodule of Mrs Novakova"), 0x0106, "identity-left",
    ),
    "a birth number": (_text("ContentDescription", "756203/1234"), 0x0106, "identity-left"),
    "a birth date": (_text("ContentDescription", "born 12 March 1975"), 0x0106, "identity-left"),
    "an original UID": (
        lambda ds: setattr(ds.SegmentSequence[0], "TrackingUID", f"{STUDY}.1.0"),
        0x0106, "identity-left",
    ),
    "a private element": (
        lambda ds: ds.private_block(0x0011, "LAB", create=True).add_new(1, "LO", "x"),
        0x0106, "private-left",
    ),
    "another modality": (_text("Modality", "CT"), 0x0106, "attribute-invalid"),
    "no segments": (lambda ds: delattr(ds, "SegmentSequence"), 0x0120, "attribute-missing"),
    "too few pixels": (
        lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2]), 0x0106, "attribute-invalid",
    ),
    "the series of the images": (
        lambda ds: setattr(
            ds, "SeriesInstanceUID", ds.ReferencedSeriesSequence[0].SeriesInstanceUID
        ),
        0xA900, "reference-mismatch",
    ),
    "an original image": (
        lambda ds: setattr(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
        0x0122, "class-unsupported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_with_its_reason(
    site: Site, context: ProjectContext, what: str
) -> None:
    change, code, reason = REFUSED[what]
    ds = _edit(change)(site)
    if what == "an original image":
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.ImageType = ["ORIGINAL", "PRIMARY"]
    got, comment = site.refused(ds)
    assert (got, comment.split(":")[0]) == (code, reason)
    # The reason quotes no value.
    assert not any(value in comment for value in ("ovak", "ovák", "756203", "1975", STUDY))
    assert context.ledger.instances._database.all(
        "SELECT count(*) FROM pacsgrid.instance WHERE sop_uid = %s", (str(ds.SOPInstanceUID),)
    ) == [(0,)]
    assert not list((site.stack.site.outbox / ".results" / ".parts").iterdir())


def test_only_who_has_the_right_may_send(site: Site) -> None:
    with pytest.raises(requests.HTTPError, match="403"):
        site.client("reader").store_instances([results.segmentation(site.images)])


def test_by_dimse(site: Site, context: ProjectContext, tmp_path: Path) -> None:
    good, bad = results.segmentation(site.images), results.segmentation(site.images)
    bad.SeriesDescription = "Nováková"
    for name, ds in (("good", good), ("bad", bad)):
        dcmwrite(tmp_path / f"{name}.dcm", ds, enforce_file_format=True)

    def send(name: str, title: str = "LAB") -> str:
        command = [
            "storescu",
            "-v",
            "-R",
            "-aet",
            title,
            "-aec",
            "PACSGRID",
            "127.0.0.1",
            str(site.port),
        ]
        done = subprocess.run(
            [*command, str(tmp_path / f"{name}.dcm")], capture_output=True, text=True, timeout=120
        )
        return done.stdout + done.stderr

    assert "Received Store Response (Success)" in send("good")
    assert "Received Store Response (Success)" not in send("bad")
    # A peer without the right is not offered a context to send in.
    assert "No Acceptable Presentation Contexts" in send("good", "X")
    site.gateway.results.wait()
    (result,) = [one for one in context.ledger.results.of_project("demo") if one.name == "by-dimse"]
    assert context.ledger.studies.state(result.ref) is StudyState.VERIFIED
    (row,) = context.ledger.instances.of_study(result.ref)
    assert row.sop_uid == str(good.SOPInstanceUID)


def test_a_crash_between_the_steps_loses_nothing(site: Site, context: ProjectContext) -> None:
    ds = results.segmentation(site.images)
    queue = site.gateway.results._enqueue
    site.gateway.results._enqueue = lambda project, ref: None  # type: ignore[method-assign]
    try:
        assert site.post(ds)[0] == 200
    finally:
        site.gateway.results._enqueue = queue  # type: ignore[method-assign]
    (ref,) = context.ledger.studies.find_by_pseudonym("demo", str(ds.SOPInstanceUID))
    assert context.ledger.studies.state(ref) is StudyState.ANONYMISED
    site.gateway.results.resume()
    site.gateway.results.wait()
    assert context.ledger.studies.state(ref) is StudyState.VERIFIED
    assert deposit_result(context, ref)


def test_the_ingest_leaves_pseudonyms_alone(site: Site, context: ProjectContext) -> None:
    path = site.stack.drop / "own.dcm"
    dcmwrite(path, site.images[0], enforce_file_format=True)
    ingest(context)
    study = str(site.images[0].StudyInstanceUID)
    own = context.pseudonyms.reference("drop", study)
    assert context.ledger.studies.state(own) is StudyState.HELD
    assert context.ledger.studies.held_code(own) == "own-pseudonym"
    assert context.ledger.instances.of_study(own) == []
    path.unlink()


def _filed(site: Site, name: str, ds: Dataset) -> Dataset:
    """File an object in the hospital's archive under the patient, in a study of its own."""
    ds.PatientID, ds.PatientName, ds.PatientBirthDate = "756203/1234", "Novakova^Zofie", "19750312"
    ds.StudyInstanceUID = f"{STUDY}.{name}"
    dcmwrite(site.stack.drop / f"{name}.dcm", ds, enforce_file_format=True)
    return ds


@pytest.mark.parametrize("kept", ["by the register", "before there was one"])
def test_what_the_hospital_makes_of_the_grids_images_refers_to_them(
    site: Site, context: ProjectContext, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept == "before there was one":
        monkeypatch.setattr(issued_uids, "_HEAD", 500)  # the header is longer
        context.ledger.database.run("DELETE FROM pacsgrid.issued_uid")
    name = "5" if kept == "by the register" else "6"
    ds = _filed(site, name, results.segmentation(site.images))
    ingest(context)
    ref = context.pseudonyms.reference("drop", f"{STUDY}.{name}")
    assert context.ledger.studies.state(ref) is StudyState.VERIFIED
    (row,) = context.ledger.instances.of_study(ref)
    assert row.sop_uid == context.pseudonyms.uid(str(ds.SOPInstanceUID))
    assert row.subject == site.images[0].PatientID
    path = grid.object_path("brno", "demo", row)
    made = dcmread(BytesIO(grid.get_head(context.home, path, row.size)))
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == site.images[0].SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == {
        str(one.SOPInstanceUID) for one in site.images
    }
    assert made.FrameOfReferenceUID == site.images[0].FrameOfReferenceUID
    assert list(find_faults(context)) == []


def test_a_study_under_a_patients_pseudonym_is_held(site: Site, context: ProjectContext) -> None:
    ds = _filed(site, "7", results.segmentation(site.images))
    ds.PatientID = site.images[0].PatientID
    dcmwrite(site.stack.drop / "7.dcm", ds, enforce_file_format=True)
    ingest(context)
    ref = context.pseudonyms.reference("drop", f"{STUDY}.7")
    assert context.ledger.studies.held_code(ref) == "own-pseudonym"
    ((detail,),) = context.ledger.database.all(
        "SELECT held_detail FROM pacsgrid.study WHERE ref = %s", (ref,)
    )
    assert "is the pseudonym of a patient" in detail


def test_a_steward_decides_what_is_released(site: Site, context: ProjectContext) -> None:
    site.post(results.segmentation(site.images))
    site.gateway.results.wait()
    study = str(site.images[0].StudyInstanceUID)
    result = next(
        one for one in context.ledger.results.of_project("demo", study) if one.name == "nodules"
    )
    assert result.ref not in select_cohort(context, Cohort(members=tuple([study])))
    decide_release(context, result.ref, True, "anna", "checked by a radiologist")
    members = select_cohort(context, Cohort(members=tuple([study])))
    assert result.ref in members
    collection = release_cohort(context, "with-results", members)
    sums = grid.get_document(context.home, f"{collection}/SHA256SUMS")
    assert sums is not None and b"/results/nodules/" in sums
    decide_release(context, result.ref, False, "anna", "withdrawn by its author")
    assert result.ref not in select_cohort(context, Cohort(members=tuple([study])))
    verdicts = [one.verdict for one in context.ledger.audit.decisions(result.ref)]
    assert verdicts == ["release-result", "withhold-result"]


def test_a_damaged_replica_of_a_result_is_repaired(site: Site, context: ProjectContext) -> None:
    ds = results.segmentation(site.images)
    site.post(ds)
    site.gateway.results.wait()
    columns = (DataObject.path, DataObject.replica_number)
    named = DataObject.name == f"{ds.SOPInstanceUID}.dcm"
    file, *_ = (Path(row[DataObject.path]) for row in context.home.rows(columns, named))
    good = file.read_bytes()
    file.write_bytes(b"\xff" + good[1:])
    report = maintain(context, datetime.now(UTC) + timedelta(days=40))
    assert report.repaired >= 1 and not report.lost
    files = [Path(row[DataObject.path]) for row in context.home.rows(columns, named)]
    assert len(files) == 2 and {path.read_bytes() for path in files} == {good}


def test_results_stay_when_their_study_has_a_new_version(
    site: Site, context: ProjectContext, tmp_path: Path
) -> None:
    study, subject = str(site.images[0].StudyInstanceUID), str(site.images[0].PatientID)
    kept, late = results.segmentation(site.images), results.segmentation(site.images)
    assert site.post(kept)[0] == 200
    site.gateway.results.wait()
    (ref,) = context.ledger.studies.find_by_pseudonym("demo", str(kept.SOPInstanceUID))
    decide_release(context, ref, True, "anna", "checked by a radiologist")
    members = select_cohort(context, Cohort(members=tuple([study])))
    released = release_cohort(context, "before", members)
    old = context.ledger.results.study_of("demo", study)

    def shown(ds: Dataset) -> Dataset:
        """What a viewer gets: the result by its study, and the images that it refers to."""
        site.gateway.refresh()
        client = site.client()
        found = client.search_for_instances(study, search_filters={"Modality": "SEG"})
        assert [ds.SOPInstanceUID] in [one["00080018"]["Value"] for one in found]
        (series,) = ds.ReferencedSeriesSequence
        for one in series.ReferencedInstanceSequence:
            client.retrieve_instance_metadata(
                study, series.SeriesInstanceUID, one.ReferencedSOPInstanceUID
            )
        return client.retrieve_instance(study, ds.SeriesInstanceUID, ds.SOPInstanceUID)

    demo = site.stack.site.projects["demo"].replace(profile="research")
    there = replace(site.stack.site, projects={**site.stack.site.projects, "demo": demo})
    with ProjectContext(there, "demo") as opened:
        entered = enter_new_versions(opened, "anna", "dates are needed", "r", 9)
        new: list[str] = []
        for name in entered.ingests.values():
            new += [one for batch in waves.hand_out(opened, name, "r-1", 64) for one in batch]
        now = next(one for one in new if opened.ledger.versions.current_of(one) == old)
        # Deposited and not proven: the gateway shows the new version already.
        run_step(opened, "deposit", new)
        assert shown(kept).PixelData == kept.PixelData
        for step in ("replicate", "verify"):
            run_step(opened, step, new)
        clear_work_folders(opened, new)
        assert opened.ledger.results.study_of("demo", study) == now
        assert shown(kept).PixelData == kept.PixelData
        # What comes now lies beside what was there.
        assert site.post(late)[0] == 200
        site.gateway.results.wait()
        assert opened.ledger.studies.find_by_pseudonym("demo", str(late.SOPInstanceUID)) == [ref]
        assert shown(late).PixelData == late.PixelData
        # A new release has the new version with the result, and the old one is complete.
        after = select_cohort(opened, Cohort(members=tuple([study])))
        assert {now, ref} == set(after)
        second = release_cohort(opened, "after", after)
        for name, collection in (("one", released), ("two", second)):
            assert fetch_release(opened.home, collection, tmp_path / name).bad == []
            assert list((tmp_path / name).rglob(f"{kept.SOPInstanceUID}.dcm"))
        # Once no release lists the old version, its images go and its results stay.
        for one in opened.ledger.releases.versions("demo"):
            opened.ledger.releases.mark_retired("demo", one.name, one.version)
        assert maintain(opened, everything=True).removed == 1
        assert opened.ledger.studies.state(old) is StudyState.SUPERSEDED
        assert shown(kept).PixelData == kept.PixelData
        for zone in (opened.home, *opened.partners):
            path = grid.study_collection(zone.settings.name, "demo", subject, study)
            inside = zone.session.collections.get(path)
            assert [one.name for one in inside.subcollections] == ["results"]
            assert inside.data_objects == [] and inside.metadata.items() == []
        # An index that is made anew shows the same.
        fresh = Index(tmp_path / "index.sqlite")
        for zone in (opened.home, *opened.partners):
            refresh(fresh, zone, "demo")
        with fresh.reading() as db:
            uids = {uid for (uid,) in db.execute("SELECT uid FROM instance")}
        assert {str(kept.SOPInstanceUID), str(late.SOPInstanceUID)} <= uids
        assert list(find_faults(opened)) == []
        assert progress(opened).outdated == 0


@pytest.mark.parametrize("way", ["archive", "web"])
def test_results_go_back_under_the_original_identifiers(
    site: Site,
    context: ProjectContext,
    tmp_path: Path,
    way: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ds = results.segmentation(site.images)
    ds.SeriesDescription = f"for {way}"
    site.post(ds)
    site.gateway.results.wait()
    (ref,) = context.ledger.studies.find_by_pseudonym("demo", str(ds.SOPInstanceUID))
    rows_before = len(context.ledger.instances.of_study(ref))
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        settings = pacs.settings("web")
        returns = {
            "archive": ReturnSection(
                ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.dicom_port
            ),
            "web": ReturnSection(url=settings.url),
        }
        there = replace(site.stack.site, returns=returns)
        with ProjectContext(there, "demo") as opened:
            with pytest.raises(ConfigError, match="why in at least"):
                return_result(opened, ref, way, "anna", "because")
            with pytest.raises(ConfigError, match="archive, web"):
                return_result(opened, ref, "nowhere", "anna", "a finding to follow up")
        # As it is called: by the command, with the site file.
        given = yaml.safe_load((site.stack.dir / "site.yaml").read_text())
        given["returns"] = {
            name: one.model_dump(mode="json", exclude_defaults=True)
            for name, one in returns.items()
        }
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(given))
        arguments = ["return-results", "demo", ref, "--to", way, "--who", "anna"]
        arguments += ["--reason", "a finding to follow up", "--site", str(tmp_path / "site.yaml")]
        assert main(arguments) == 0
        assert capsys.readouterr().out == f"{rows_before} objects returned to {way}\n"
        client = DICOMwebClient(settings.url)
        got = client.retrieve_study(STUDY)
    assert len(got) == rows_before
    (back,) = [one for one in got if one.SOPInstanceUID == ds.SOPInstanceUID]
    source = dcmread(site.stack.drop / f"{STUDY}.0.dcm")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert back[keyword].value == source[keyword].value, keyword
    assert back.FrameOfReferenceUID == source.FrameOfReferenceUID
    (series,) = back.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == {
        f"{STUDY}.1.{number}" for number in range(3)
    }
    assert back.PixelData == ds.PixelData
    assert "PatientIdentityRemoved" not in back and "DeidentificationMethod" not in back
    result = context.ledger.results.get(ref)
    assert result is not None
    study = context.ledger.versions.current_of(result.study_ref)
    looks = context.ledger.audit.accesses(study)
    assert looks[-1].who.startswith("anna (account ") and looks[-1].what == f"returned to {way}"
    # Nothing identified stays.
    assert not [path for path in site.stack.site.staging.rglob("*") if "return" in path.name]


def test_a_withdrawal_takes_the_results_too(site: Site, context: ProjectContext) -> None:
    subject = str(site.images[0].PatientID)
    assert withdraw(context, subject) == []
    for zone in (context.home, *context.partners):
        root = f"/{zone.settings.name}/home/demo/data/{subject}"
        assert not zone.session.collections.exists(root)
    assert context.ledger.results.of_project("demo") == []
    ds = results.segmentation(site.images)
    assert site.refused(ds)[1].split(":")[0] == "reference-missing"
