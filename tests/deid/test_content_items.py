"""Content items with dates, times and persons (PS3.15 Table E.3.4-1), and their codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsgrid.deid import (
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.deid.content_items import load_table
from pacsgrid.deid.profile import Profile
from pacsgrid.errors import HeldError
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save

BORN, DAY = "19750312", "20240102"
VALUES = {
    "DATE": ("Date", "DA", "20240105"),
    "DATETIME": ("DateTime", "DT", "20240105101500"),
    "TIME": ("Time", "TM", "101500"),
    "PNAME": ("PersonName", "PN", "Svoboda^Petr"),
}
DUMMIES = {"DATE": "19000101", "DATETIME": "19000101", "TIME": "000000", "PNAME": "REMOVED"}


def profile(folder: Path, *options: str) -> Profile:
    path = folder / "own.yaml"
    text = f"options: [{', '.join(options)}]\npixels: {{look: none, hold: []}}\n"
    path.write_text("name: own\n" + text)
    return load_profile(str(path))


def code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def item(scheme: str, value: str, kind: str, content: str = "") -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = "CONTAINS", kind
    made.ConceptNameCodeSequence = [code(value, scheme, "a concept")]
    setattr(made, VALUES[kind][0], content or VALUES[kind][2])
    return made


def report(path: Path, items: list[Dataset], study_date: str = DAY) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1"))
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.88.33", "SR"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(ds, keyword)
    ds.PatientBirthDate, ds.StudyDate = BORN, study_date
    ds.ContentSequence = items
    return save(ds, path)


def contents(path: Path, made_with: Profile) -> list[str]:
    made = dcmread(checked(path, made_with).path)
    return [str(one[VALUES[one.ValueType][0]].value) for one in made.ContentSequence]


@pytest.mark.parametrize("options", [(), ("full", "structured"), ("modified", "structured")])
def test_dates_times_and_persons_follow_table_e_3_4_1(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    keys = [key for key in load_table() if key[2] in VALUES]
    assert len(keys) == 53
    source = report(tmp_path / "a", [item(*key) for key in keys])
    made = contents(source, profile(tmp_path, *options))
    for key, value in zip(keys, made, strict=True):
        kind, kept = key[2], bool(load_table()[key].options.keys() & set(options))
        before = VALUES[kind][2]
        if not kept:
            assert value == DUMMIES[kind], key
        elif "full" in options or kind == "TIME":
            assert value == before, key
        else:
            assert value not in (before, DUMMIES[kind]), key
            assert value[8:] == before[8:], key


@pytest.mark.parametrize("options", [(), ("full", "structured"), ("modified", "structured")])
@pytest.mark.parametrize("kind", ["DATE", "DATETIME"])
@pytest.mark.parametrize("concept", [("DCM", "121031"), ("99KLINIK", "DOB")])
def test_a_birth_date_neither_stays_nor_moves(
    tmp_path: Path, concept: tuple[str, str], kind: str, options: tuple[str, ...]
) -> None:
    born = BORN if kind == "DATE" else BORN + "000000"
    source = report(tmp_path / "a", [item(*concept, kind, born), item("DCM", "111060", "DATE")])
    assert contents(source, profile(tmp_path, *options))[0] == "19000101"


def test_a_newborns_examination_moves_though_it_is_the_birthday(tmp_path: Path) -> None:
    source = report(tmp_path / "a", [item("DCM", "111060", "DATE", BORN)], study_date=BORN)
    made = contents(source, profile(tmp_path, "modified", "structured"))
    assert made[0] not in (BORN, "19000101")


def test_the_checker_refuses_a_birth_date_that_moved(tmp_path: Path) -> None:
    mine = profile(tmp_path, "modified", "structured")
    source = report(tmp_path / "a", [item("DCM", "121031", "DATE", BORN)])
    made = anonymise_file(source, tmp_path / "out", PSEUDONYMS, mine, collect_identifiers([source]))
    ds = dcmread(made.path)
    ds.ContentSequence[0].Date = "19741201"
    ds.save_as(made.path)
    with pytest.raises(HeldError) as raised:
        check_file(source, made.path, mine)
    assert raised.value.code == "identity-left"
    assert "(0040,A121)" in str(raised.value) and BORN not in str(raised.value)


@pytest.mark.parametrize(
    ("age", "unit", "rounded"),
    [("62", "a", "60"), ("97.4", "a", "90"), ("22648", "d", "21915"), ("12", "d", "12"),
     ("754", "mo", "720"), ("62", "1", None)],
)  # fmt: skip
def test_an_age_in_a_report_is_rounded_as_the_patients_is(
    tmp_path: Path, age: str, unit: str, rounded: str | None
) -> None:
    measured, subject = Dataset(), Dataset()
    measured.NumericValue = age
    measured.MeasurementUnitsCodeSequence = [code(unit, "UCUM", "unit")]
    subject.RelationshipType, subject.ValueType = "CONTAINS", "NUM"
    subject.ConceptNameCodeSequence = [code("121033", "DCM", "Subject Age")]
    subject.MeasuredValueSequence = [measured]
    made = dcmread(checked(report(tmp_path / "a", [subject]), load_profile("research")).path)
    left = made.ContentSequence[0].MeasuredValueSequence
    assert (str(left[0].NumericValue) if left else None) == rounded


def coded(path: Path, *codes: Dataset) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1"))
    ds.PatientName, ds.InstitutionName = "Compression^Chest", "Nemocnice Kralovice"
    ds.DerivationCodeSequence = list(codes)
    return save(ds, path)


@pytest.mark.parametrize("name", ["basic", "research", "strict"])
def test_a_published_code_names_nobody(tmp_path: Path, name: str) -> None:
    source = coded(tmp_path / "a", code("113040", "DCM", "Lossy Compression"))
    made = dcmread(checked(source, load_profile(name)).path)
    assert made.DerivationCodeSequence[0].CodeMeaning == "Lossy Compression"


def test_another_meaning_of_a_published_code_does(tmp_path: Path) -> None:
    source = coded(tmp_path / "a", code("113040", "DCM", "Mr. Compression"))
    made = dcmread(checked(source, load_profile("research")).path)
    assert made.DerivationCodeSequence[0].CodeMeaning == "Lossy Compression"


@pytest.mark.parametrize("name", ["basic", "research"])
@pytest.mark.parametrize(
    ("scheme", "stays"),
    [("99KRALOVICE", False), ("KRALOV", True), ("99SIEMENS", True), ("99LOCAL", True)],
)
def test_a_scheme_called_after_the_institution_goes(
    tmp_path: Path, scheme: str, stays: bool, name: str
) -> None:
    source = coded(tmp_path / "a", code("THX", scheme, "Thorax"))
    made = dcmread(checked(source, load_profile(name)).path).DerivationCodeSequence[0]
    assert (made.CodingSchemeDesignator == scheme) == stays
    assert (made.CodeValue == "THX") == stays


def test_the_checker_finds_an_institutions_scheme_by_itself(tmp_path: Path) -> None:
    research = load_profile("research")
    source = coded(tmp_path / "a", code("THX", "99KRALOVICE", "Thorax"))
    made = anonymise_file(
        source, tmp_path / "out", PSEUDONYMS, research, collect_identifiers([source])
    )
    ds = dcmread(made.path)
    ds.DerivationCodeSequence[0].CodingSchemeDesignator = "99KRALOVICE"
    ds.save_as(made.path)
    with pytest.raises(HeldError) as raised:
        check_file(source, made.path, research)
    assert "(0008,0102)" in str(raised.value) and "override" in str(raised.value)


def test_layers_of_graphics_stay_apart(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    names = ["LAYER1", "LAYER2", "NOVAKOVA", "DR SMITH", "TEXT"]
    ds.PatientName = "Novakova^Zofie"
    ds.GraphicLayerSequence = [Dataset() for _ in names]
    for layer, name in zip(ds.GraphicLayerSequence, names, strict=True):
        layer.GraphicLayer, layer.GraphicLayerOrder = name, 1
    ds.GraphicAnnotationSequence = [Dataset()]
    ds.GraphicAnnotationSequence[0].GraphicLayer = "NOVAKOVA"
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile("research")).path)
    layers = [str(layer.GraphicLayer) for layer in made.GraphicLayerSequence]
    assert layers[:2] == names[:2] and len(set(layers)) == len(names)
    assert not {"NOVAKOVA", "DR SMITH"} & set(layers)
    assert made.GraphicAnnotationSequence[0].GraphicLayer == layers[2]


def test_a_model_stays_though_the_station_is_called_so(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.ManufacturerModelName = ds.StationName = "Galan 3T"
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile("research")).path)
    assert made.ManufacturerModelName == "Galan 3T" and "StationName" not in made
    ds.StationName = "CTROOM2"
    ds.StudyDescription = "knee on CTROOM2"
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile("research")).path)
    assert made.StudyDescription == "knee on ***"
