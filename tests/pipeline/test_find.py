"""Studies that nobody asked for stay where they are."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from pacsgrid.config import ProjectSettings, Site, SourceSettings
from pacsgrid.errors import ConfigError
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.find import find_studies, preview_ingest
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
        projects={
            "demo": ProjectSettings(
                name="demo", profile="basic", home_zone="brno", partner_zones=(), key_file=key
            )
        },
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
        ProjectContext(at(site, settings), "demo") as context,
    ):
        refs = find_studies(context, "odd", StudyQuery(patient_ids=("0012",)))
        assert len(refs) == 2  # what an answer does not say is seen when the study comes
        assert run_step(context, "retrieve", refs).refs == refs[:1]
        assert context.ledger.studies.state(refs[0]) is StudyState.RETRIEVED
        assert context.ledger.studies.held_code(refs[1]) == "not-asked-for"
        assert len(list(context.folders(refs[0]).staging.glob("*.dcm"))) == 1
        for room in (context.folders(refs[1]).staging, context.folders(refs[1]).quarantine):
            assert not room.exists()
        (row,) = context.ledger.held.queue("demo")
        assert "PatientID" in row.detail
        # Asked for in the same way it stays; asked for by what it is, it comes.
        assert find_studies(context, "odd", StudyQuery(patient_ids=("0012",))) == refs[:1]
        again = find_studies(context, "odd", StudyQuery(patient_ids=("12",)))
        assert set(again) == set(refs) and context.ledger.studies.state(refs[1]) is StudyState.FOUND
        assert run_step(context, "retrieve", refs).refs == refs
        assert context.ledger.studies.state(refs[1]) is StudyState.RETRIEVED
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
        ProjectContext(at(site, settings), "demo") as context,
    ):
        assert preview_ingest(context, "odd", [query]).studies == 1
        assert len(find_studies(context, "odd", query)) == 1
        assert len(context.ledger.studies.find("demo")) == 1
        count = len(asked)
        wild = StudyQuery(patient_ids=("00*",))
        with pytest.raises(ConfigError, match="patient_ids, entry 1"):
            find_studies(context, "odd", wild)
        with pytest.raises(ConfigError, match="patient_ids, entry 1"):
            preview_ingest(context, "odd", [wild])
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
        ProjectContext(at(site, settings), "demo") as context,
    ):
        (ref,) = find_studies(context, "odd", StudyQuery())
        assert run_step(context, "retrieve", [ref]).held == 1
        (row,) = context.ledger.held.queue("demo")
        assert row.code == "not-asked-for"
        assert row.detail.startswith("1 of 2 instances have another StudyInstanceUID")
        assert (
            not context.folders(ref).staging.exists()
            and not context.folders(ref).quarantine.exists()
        )


def test_a_second_question_before_the_study_comes_counts(site: Site, tmp_path: Path) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.1", "1.2.1.1.1", patient_id="12")
    answers = [listed(StudyInstanceUID="1.2.1")]
    with (
        ignoring(answers, [path], tmp_path / "s") as (settings, _),
        ProjectContext(at(site, settings), "demo") as context,
    ):
        refs = find_studies(context, "odd", StudyQuery(patient_ids=("77",)))
        assert find_studies(context, "odd", StudyQuery(patient_ids=("12",))) == refs
        assert run_step(context, "retrieve", refs).refs == refs
