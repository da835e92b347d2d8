"""Studies and instances that were not queried for are refused, whatever a PACS answers."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.errors import ConfigError, SourceError, TooManyAnswersError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.header import StudyHeader, read_header
from pacsgrid.pacs.query_check import (
    NOT_ASKED_FOR,
    query_to_identity,
    reason_not_asked_for,
    replaces_query,
    study_from_identity,
)
from support.dicom import ct, save
from support.ignoring_pacs import ignoring, listed
from support.webserver import Answer, server, source_at

HERS = {
    "StudyInstanceUID": "1.2.1",
    "PatientID": "0012",
    "AccessionNumber": "A1",
    "StudyDate": "20240102",
    "ModalitiesInStudy": "CT\\SR",
}
OTHERS = [
    HERS,
    {**HERS, "StudyInstanceUID": "1.2.2", "PatientID": "12"},
    {**HERS, "StudyInstanceUID": "1.2.3", "PatientID": "0012X", "AccessionNumber": "a1"},
    {**HERS, "StudyInstanceUID": "1.2.4", "PatientID": "0012 ", "StudyDate": "2024.01.03"},
    {**HERS, "StudyInstanceUID": "1.2.5", "PatientID": "77", "ModalitiesInStudy": "MR"},
]
QUESTIONS = [
    (StudyQuery(patient_ids=("0012",)), {"1.2.1", "1.2.4"}),
    (StudyQuery(patient_ids=("0012",), date_to="20240102"), {"1.2.1"}),
    (StudyQuery(patient_ids=("0012", "77"), modalities=("MR", "US")), {"1.2.5"}),
    (StudyQuery(accession_numbers=("A1",)), {"1.2.1", "1.2.2", "1.2.4", "1.2.5"}),
    (StudyQuery(study_uids=("1.2.2", "1.2.9")), {"1.2.2"}),
    (StudyQuery(date_from="20240103", date_to="20240103"), {"1.2.4"}),
    (StudyQuery(), {"1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"}),
]
TAGS = {
    "StudyInstanceUID": ("0020000D", "UI"),
    "PatientID": ("00100020", "LO"),
    "AccessionNumber": ("00080050", "SH"),
    "StudyDate": ("00080020", "DA"),
    "ModalitiesInStudy": ("00080061", "CS"),
}


def in_json(study: dict[str, str]) -> dict[str, object]:
    return {
        tag: {"vr": vr, "Value": study[keyword].split("\\")}
        for keyword, (tag, vr) in TAGS.items()
        if study.get(keyword)
    }


@pytest.mark.parametrize(("query", "expected"), QUESTIONS)
def test_strangers_are_left_out_of_what_dimse_answers(
    query: StudyQuery, expected: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ignoring([listed(**one) for one in OTHERS], state=tmp_path) as (settings, _):
        found = [one.study_uid for one in open_source(settings).find_studies(query)]
    assert sorted(found) == sorted(expected)
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert bool(told) == (query != StudyQuery())
    assert not any(value in "".join(told) for value in ("0012", "A1", "1.2."))


@pytest.mark.parametrize(("query", "expected"), QUESTIONS)
def test_strangers_are_left_out_of_what_dicomweb_answers(
    query: StudyQuery, expected: set[str]
) -> None:
    def all_of_them(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        items = [in_json(one) for one in OTHERS] if params["offset"] == ["0"] else []
        return 200, {}, json.dumps(items).encode()

    with server(all_of_them) as url:
        found = [one.study_uid for one in open_source(source_at(url)).find_studies(query)]
    assert sorted(found) == sorted(expected)


WILD = [
    StudyQuery(patient_ids=("12*",)),
    StudyQuery(patient_ids=("1?2",)),
    StudyQuery(patient_ids=("1\\2",)),
    StudyQuery(patient_ids=("12", "")),
    StudyQuery(patient_ids=(" ",)),
    StudyQuery(accession_numbers=("*",)),
    StudyQuery(accession_numbers=("A\nB",)),
    StudyQuery(study_uids=("1.2.*",)),
    StudyQuery(study_uids=("1.2,1.3",)),
    StudyQuery(study_uids=("",)),
    StudyQuery(modalities=("C*",)),
    StudyQuery(date_from="-"),
    StudyQuery(date_from="2024-01-01"),
    StudyQuery(date_from="20240102", date_to="20240101"),
]


@pytest.mark.parametrize("query", WILD)
def test_what_would_match_others_is_not_sent(query: StudyQuery, tmp_path: Path) -> None:
    with ignoring([listed(**HERS)], state=tmp_path) as (settings, asked):
        with pytest.raises(ConfigError) as told:
            open_source(settings).find_studies(query)
        assert asked == []
    assert "12" not in str(told.value).replace("entry 1", "").replace("entry 2", "")

    def never(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        raise AssertionError("it was asked")

    with server(never) as url, pytest.raises(ConfigError):
        list(open_source(source_at(url)).find_studies(query))


def test_a_modality_that_an_answer_does_not_tell_is_asked_of_its_series(tmp_path: Path) -> None:
    files = [ct(tmp_path / "a.dcm", "1.2.1", "1.2.1.1.1")]
    mute = [listed(StudyInstanceUID=uid, PatientID="0012") for uid in ("1.2.1", "1.2.2")]
    with ignoring(mute, files, tmp_path / "s") as (settings, _):
        source = open_source(settings)
        found = [one.study_uid for one in source.find_studies(StudyQuery(modalities=("CT",)))]
        assert found == ["1.2.1"]
        assert list(source.find_studies(StudyQuery(modalities=("MR",)))) == []


def test_as_many_answers_as_a_source_gives_at_most_may_hide_the_one(tmp_path: Path) -> None:
    strangers = [listed(**{**HERS, "StudyInstanceUID": f"1.3.{n}"}) for n in range(5)]
    with ignoring(strangers, state=tmp_path, most_answers=5) as (settings, _):
        source = open_source(settings)
        with pytest.raises(TooManyAnswersError, match="query less"):
            source.find_studies(StudyQuery(patient_ids=("4",)))
    with ignoring(strangers, state=tmp_path, most_answers=6) as (settings, _):
        assert list(open_source(settings).find_studies(StudyQuery(patient_ids=("4",)))) == []


def test_other_studies_in_a_studys_list_are_passed_over(tmp_path: Path) -> None:
    files = [ct(tmp_path / f"{n}.dcm", f"1.2.{n}", f"1.2.{n}.1.1") for n in (1, 2)]
    with ignoring([], files, tmp_path / "s") as (settings, _):
        source = open_source(settings)
        assert source.list_instances(FoundStudy("1.2.1", "")) == {"1.2.1.1.1"}
        (item,) = source.retrieve(FoundStudy("1.2.1", ""), tmp_path / "in")
        assert item.sop_uid == "1.2.1.1.1" and len(list((tmp_path / "in").iterdir())) == 1
        with pytest.raises(SourceError, match="no instance"):
            source.retrieve(FoundStudy("1.2.3", ""), tmp_path / "in3")


@pytest.mark.parametrize("uid", ["*", "", "1.2.*", "1.2.1.1\\1.2.2.1"])
def test_a_list_whose_uids_would_match_others_is_not_asked_on(uid: str, tmp_path: Path) -> None:
    series = listed(StudyInstanceUID="1.2.1", SeriesInstanceUID=uid, SOPInstanceUID="1.2.1.1.1")
    image = listed(StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", SOPInstanceUID=uid)
    for lower in (series, image):
        with ignoring([], [], tmp_path / "s", [lower]) as (settings, asked):
            with pytest.raises(SourceError, match="UID"):
                open_source(settings).retrieve(FoundStudy("1.2.1", ""), tmp_path / "in")
            assert not any(str(one.get("SOPInstanceUID") or "") for one in asked)
    with ignoring([], [], tmp_path / "s") as (settings, asked):
        with pytest.raises(SourceError, match="UID"):
            open_source(settings).retrieve(FoundStudy(uid, ""), tmp_path / "in")
        assert asked == []


# -- what was retrieved ----------------------------------------------------------------------

HER = StudyHeader("1.2.1", "1.2.1.1", "1.2.1.1.1", "0012", "A1", "20240102", "CT")


def found(query: StudyQuery, *told: str) -> FoundStudy:
    return FoundStudy("1.2.1", "0012", query=query, confirmed=told)


@pytest.mark.parametrize(
    ("study", "headers", "what"),
    [
        (
            found(StudyQuery()),
            [HER, StudyHeader(study_uid="1.2.2")],
            "1 of 2 instances.*StudyInstance",
        ),
        (found(StudyQuery(patient_ids=("12",))), [HER], "PatientID"),
        (
            found(StudyQuery(patient_ids=("0012",))),
            [HER, StudyHeader("1.2.1")],
            "1 of 2.*PatientID",
        ),
        (found(StudyQuery(accession_numbers=("A2",))), [HER, HER], "AccessionNumber"),
        (found(StudyQuery(accession_numbers=("A2",))), [StudyHeader("1.2.1")], "AccessionNumber"),
        (found(StudyQuery(date_from="20240103"), "dates"), [HER], "StudyDate"),
        (found(StudyQuery(date_to="20240103")), [StudyHeader("1.2.1")], "StudyDate"),
        (found(StudyQuery(modalities=("MR",))), [HER], "Modality"),
    ],
)
def test_what_was_retrieved_is_compared(
    study: FoundStudy, headers: list[StudyHeader], what: str
) -> None:
    reason = reason_not_asked_for(study, headers)
    assert re.search(what, reason)
    assert not any(value in reason for value in ("0012", "A1", "A2", "1.2.1", "2024"))


@pytest.mark.parametrize(
    ("study", "headers"),
    [
        (found(StudyQuery()), [HER]),
        (found(StudyQuery(patient_ids=("77", "0012"))), [HER]),
        # The answer said it, and no header says otherwise.
        (found(StudyQuery(patient_ids=("0012",)), "patient_ids"), [HER, StudyHeader("1.2.1")]),
        (found(StudyQuery(accession_numbers=("A1",)), "accession_numbers"), [StudyHeader("1.2.1")]),
        (found(StudyQuery(date_from="20240101"), "dates"), [StudyHeader("1.2.1")]),
        # An examination over midnight, a second accession, a report beside the images.
        (
            found(StudyQuery("20240102", "20240102", ("CT",), (), ("A1",))),
            [HER, StudyHeader("1.2.1", "", "", "0012", "A2", "20240103", "SR")],
        ),
    ],
)
def test_what_was_asked_for_goes_on(study: FoundStudy, headers: list[StudyHeader]) -> None:
    assert reason_not_asked_for(study, headers) == ""


def test_the_question_is_kept_with_the_study() -> None:
    query = StudyQuery("20240101", "20240131", ("CT",), ("0012",), ("A1",), ("1.2.1",))
    study = found(query, "dates", "patient_ids")
    identity = {
        "study_uid": study.study_uid,
        "patient_id": study.patient_id,
        **query_to_identity(study),
    }
    again = study_from_identity(identity)
    assert (again, again.query, again.confirmed) == (study, query, study.confirmed)
    nothing = {"asked": "", "told": ""}
    assert (
        query_to_identity(found(StudyQuery())) == nothing
        and query_to_identity(FoundStudy("1", "2")) == nothing
    )
    assert study_from_identity({**identity, **nothing}).query is None
    assert replaces_query(nothing, {}) is False and replaces_query(identity, nothing)
    assert not replaces_query({**identity, "asked": "x", "told": "dates"}, identity)
    assert study_from_identity({"study_uid": "1", "patient_id": "2"}) == FoundStudy("1", "2")
    assert NOT_ASKED_FOR == "not-asked-for"


def test_headers_are_read_as_pydicom_reads_them(tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.1", "1.2.1.1.1", patient_id="č-77 ")
    data = dcmread(path)
    wanted = StudyHeader("1.2.1", "1.2.1.1", "1.2.1.1.1", "č-77", "ACC-77123", "20240102", "CT")
    assert read_header(path) == wanted
    data.SpecificCharacterSet = "ISO_IR 101"
    assert read_header(save(data, tmp_path / "b.dcm")) == wanted
    (tmp_path / "c.dcm").write_bytes(b"no DICOM")
    assert read_header(tmp_path / "c.dcm") is None
