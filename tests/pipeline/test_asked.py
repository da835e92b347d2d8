"""Studies that nobody asked for stay where they are."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError
from pacsgrid.model import ProjectSettings, SourceSettings, StudyQuery, StudyState
from pacsgrid.pipeline import Line
from pacsgrid.pipeline.find import find_studies, look
from pacsgrid.pipeline.reidentify import reidentify
from pacsgrid.pipeline.steps import run_step
from support.dicom import ct
from support.ignoring_pacs import ignoring, listed


@pytest.fixture
def site(tmp_path: Path, dsn: str) -> Site:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    rooms = {room: tmp_path / room for room in ("staging", "outbox", "quarantine")}
    return Site(
        **rooms,
        ledger_dsn=dsn,
        vault_key=bytes(32),
        batch_size=4,
        sources={},
        zones={},
        projects={"demo": ProjectSettings("demo", "basic", "brno", (), key)},
    )


def at(site: Site, settings: SourceSettings) -> Site:
    return replace(site, sources={"odd": settings})


def test_a_pacs_that_ignores_keys_and_tells_nothing_is_found_out_by_the_headers(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hers = ct(tmp_path / "h.dcm", "1.2.1", "1.2.1.1.1", patient_id="0012")
    his = ct(tmp_path / "o.dcm", "1.2.2", "1.2.2.1.1", patient_id="12")
    answers = [listed(StudyInstanceUID=uid) for uid in ("1.2.1", "1.2.2")]
    with (
        caplog.at_level(logging.INFO),
        ignoring(answers, [hers, his], tmp_path / "s") as (settings, _),
        Line(at(site, settings), "demo") as line,
    ):
        refs = find_studies(line, "odd", StudyQuery(patient_ids=("0012",)))
        assert len(refs) == 2  # what an answer does not say is seen when the study comes
        assert run_step(line, "retrieve", refs).refs == refs[:1]
        assert line.ledger.state(refs[0]) is StudyState.RETRIEVED
        assert line.ledger.held_code(refs[1]) == "not-asked-for"
        assert len(list(line.rooms(refs[0]).staging.iterdir())) == 1
        for room in (line.rooms(refs[1]).staging, line.rooms(refs[1]).quarantine):
            assert not room.exists()
        (row,) = line.ledger.held("demo")
        assert "PatientID" in row.detail
        # Asked for in the same way it stays; asked for by what it is, it comes.
        assert find_studies(line, "odd", StudyQuery(patient_ids=("0012",))) == refs[:1]
        again = find_studies(line, "odd", StudyQuery(patient_ids=("12",)))
        assert set(again) == set(refs) and line.ledger.state(refs[1]) is StudyState.FOUND
        assert run_step(line, "retrieve", refs).refs == refs
        assert line.ledger.state(refs[1]) is StudyState.RETRIEVED
        # The way back tells whose the study is, and not whom else was asked for.
        way = list(reidentify(site.ledger_dsn, bytes(32), "demo", refs[1], "eva", "a test of it"))
        assert way == [(refs[1], {"study_uid": "1.2.2", "patient_id": "", "source": "odd"})]
    told = caplog.text + row.detail
    assert not any(value in told for value in ("0012", "1.2.1", "1.2.2", "Nov"))


def test_what_an_answer_says_of_others_is_not_entered(site: Site, tmp_path: Path) -> None:
    answers = [
        listed(StudyInstanceUID="1.2.1", PatientID="0012", ModalitiesInStudy="CT"),
        listed(StudyInstanceUID="1.2.2", PatientID="12", ModalitiesInStudy="CT"),
    ]
    query = StudyQuery(patient_ids=("0012",))
    with (
        ignoring(answers, state=tmp_path / "s") as (settings, asked),
        Line(at(site, settings), "demo") as line,
    ):
        assert look(line, "odd", [query]).studies == 1
        assert len(find_studies(line, "odd", query)) == 1
        assert len(line.ledger.studies("demo")) == 1
        count = len(asked)
        wild = StudyQuery(patient_ids=("00*",))
        with pytest.raises(ConfigError, match="patient_ids, entry 1"):
            find_studies(line, "odd", wild)
        with pytest.raises(ConfigError, match="patient_ids, entry 1"):
            look(line, "odd", [wild])
        assert len(asked) == count


def test_a_listed_instance_that_is_another_patients_is_put_away(site: Site, tmp_path: Path) -> None:
    """The PACS sends, under UIDs of the study that was asked for, what belongs to another."""
    mine = [ct(tmp_path / f"{n}.dcm", "1.2.1", f"1.2.1.1.{n}", patient_id="0012") for n in (1, 2)]
    strange = ct(tmp_path / "2.dcm", "1.2.9", "1.2.1.1.2", patient_id="0012")
    lower = [
        listed(
            StudyInstanceUID="1.2.1",
            SeriesInstanceUID="1.2.1.1",
            SOPInstanceUID=f"1.2.1.1.{n}",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            Modality="CT",
        )
        for n in (1, 2)
    ]
    answers = [listed(StudyInstanceUID="1.2.1", PatientID="0012")]
    files = [mine[0], strange]
    with (
        ignoring(answers, files, tmp_path / "s", lower) as (settings, _),
        Line(at(site, settings), "demo") as line,
    ):
        (ref,) = find_studies(line, "odd", StudyQuery())
        assert run_step(line, "retrieve", [ref]).held == 1
        (row,) = line.ledger.held("demo")
        assert row.code == "not-asked-for"
        assert row.detail.startswith("1 of 2 instances have another StudyInstanceUID")
        assert not line.rooms(ref).staging.exists() and not line.rooms(ref).quarantine.exists()


def test_a_second_question_before_the_study_comes_counts(site: Site, tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.1", "1.2.1.1.1", patient_id="12")
    answers = [listed(StudyInstanceUID="1.2.1")]
    with (
        ignoring(answers, [path], tmp_path / "s") as (settings, _),
        Line(at(site, settings), "demo") as line,
    ):
        refs = find_studies(line, "odd", StudyQuery(patient_ids=("77",)))
        assert find_studies(line, "odd", StudyQuery(patient_ids=("12",))) == refs
        assert run_step(line, "retrieve", refs).refs == refs
