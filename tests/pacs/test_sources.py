"""Sources against real servers: Orthanc (where installed) and pynetdicom's qrscp."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from pacsgrid.config import SourceSettings
from pacsgrid.embedded.pacs import ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.sample_data import make_samples
from pacsgrid.errors import SourceError, SourceUnavailableError
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source

ENGINES = [
    pytest.param("orthanc", marks=pytest.mark.skipif(not ORTHANC.exists(), reason="no Orthanc")),
    "qrscp",
]


def dataset_bytes(path: Path) -> bytes:
    """Return what follows the file meta information, encoded."""
    length = int(read_file_meta_info(path).FileMetaInformationGroupLength)
    return path.read_bytes()[128 + 4 + 12 + length :]


def taken_by(engine: str, samples: list[Path]) -> list[Path]:
    """Leave out retired SOP classes for qrscp, which refuses them."""
    retired = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
    heads = {path: dcmread(path, stop_before_pixels=True) for path in samples}
    return [p for p, h in heads.items() if engine != "qrscp" or h.SOPClassUID not in retired]


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module", params=ENGINES)
def pacs(
    request: pytest.FixtureRequest,
    samples: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EmbeddedPacs]:
    with EmbeddedPacs(tmp_path_factory.mktemp("pacs"), engine=request.param) as server:
        assert server.load(taken_by(server.engine, samples)) == len(
            taken_by(server.engine, samples)
        )
        yield server


def test_find_by_date_and_modality(pacs: EmbeddedPacs, samples: list[Path]) -> None:
    mine = taken_by(pacs.engine, samples)
    heads = [dcmread(path, stop_before_pixels=True) for path in mine]
    source = open_source(pacs.settings())
    source.echo()
    found = list(source.find_studies(StudyQuery()))
    assert {s.study_uid for s in found} == {str(h.StudyInstanceUID) for h in heads}
    dates = StudyQuery(date_from="20200101", date_to="20211231")
    expected = {str(h.StudyInstanceUID) for h in heads if "20200101" <= h.StudyDate <= "20211231"}
    assert expected
    assert {s.study_uid for s in source.find_studies(dates)} == expected
    if pacs.engine == "orthanc":  # qrscp ignores ModalitiesInStudy, an optional key
        query = StudyQuery(modalities=("MR", "CT"))
        expected = {str(h.StudyInstanceUID) for h in heads if h.Modality in ("MR", "CT")}
        assert {s.study_uid for s in source.find_studies(query)} == expected


def test_get_all_and_resume(pacs: EmbeddedPacs, samples: list[Path], tmp_path: Path) -> None:
    mine = taken_by(pacs.engine, samples)
    originals = {str(dcmread(p, stop_before_pixels=True).SOPInstanceUID): p for p in mine}
    source = open_source(pacs.settings())
    got: dict[str, Path] = {}
    for number, study in enumerate(source.find_studies(StudyQuery())):
        for item in source.retrieve(study, tmp_path / str(number)):
            got[item.sop_uid] = item.path
        if number == 0:
            first = study
    assert set(got) == set(originals)
    for uid, path in got.items():
        if pacs.engine == "qrscp":
            assert dataset_bytes(path) == dataset_bytes(originals[uid])
        else:  # Orthanc's DCMTK writes sequences and padding its own way
            came, sent = dcmread(path), dcmread(originals[uid])
            assert came.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
            assert came.PixelData == sent.PixelData
    files = sorted((tmp_path / "0").iterdir())
    files[0].unlink()
    kept = {path: path.stat().st_mtime_ns for path in files[1:]}
    assert len(source.retrieve(first, tmp_path / "0")) == len(files)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())


def test_move(pacs: EmbeddedPacs, tmp_path: Path) -> None:
    source = open_source(pacs.settings("move"))
    studies = [s for s in source.find_studies(StudyQuery(date_from="20200101"))][:3]
    for number, study in enumerate(studies):
        items = source.retrieve(study, tmp_path / str(number))
        assert {item.sop_uid for item in items} == source.list_instances(study)


def test_wrong_port_and_title(pacs: EmbeddedPacs) -> None:
    settings = pacs.settings()
    with pytest.raises(SourceUnavailableError):
        open_source(settings.replace(port=reserve_port())).echo()
    if pacs.engine == "orthanc":
        with pytest.raises(SourceError):
            open_source(settings.replace(ae_title="NOBODY")).echo()


def test_folder(samples: list[Path], tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a").write_bytes(samples[0].read_bytes())
    (drop / "b").write_bytes(samples[0].read_bytes() + b"\0" * 2)
    (drop / "note.txt").write_text("not DICOM")
    source = open_source(SourceSettings(name="drop", kind="folder", folder=drop))
    study, stray = source.find_studies(StudyQuery())
    assert stray.study_uid == "" and source.strays() == [drop / "note.txt"]
    items = source.retrieve(study, tmp_path / "in")
    assert len(items) == 2 and len({item.sop_uid for item in items}) == 1
    for item in items:
        assert hashlib.sha256(item.path.read_bytes()).hexdigest()[:32] == item.path.stem


def test_a_study_without_a_uid_is_told_and_not_dropped() -> None:
    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for patient, uid in (("1", "1.2.3"), ("2", ""), ("3", "")):
            data = Dataset()
            data.QueryRetrieveLevel, data.PatientID, data.StudyInstanceUID = "STUDY", patient, uid
            yield 0xFF00, data

    entity = AE(ae_title="ODD")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)]
    )
    try:
        port = server.socket.getsockname()[1]
        source = open_source(
            SourceSettings(name="odd", kind="dimse", host="127.0.0.1", port=port, ae_title="ODD")
        )
        found = [(s.study_uid, s.patient_id) for s in source.find_studies(StudyQuery())]
    finally:
        server.shutdown()
    assert found == [("1.2.3", "1"), ("", "2"), ("", "3")]
