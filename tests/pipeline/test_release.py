"""Cohorts: counted, frozen, fetched; a patient who withdraws leaves nothing anywhere."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from irods.models import TicketQuery

from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV
from pacsgrid.embedded.stack import Stack
from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.grid import get_document
from pacsgrid.grid.fetch import fetch_release
from pacsgrid.grid.release_tickets import issue_release_tickets
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, count_cohort, select_cohort, summarise_cohort
from pacsgrid.pipeline.manifest import Manifest
from pacsgrid.pipeline.release import release_cohort
from pacsgrid.pipeline.release_columns import SERIES_ATTRIBUTES
from pacsgrid.pipeline.withdraw import erase_pending, withdraw
from support.datacite_service import PREFIX, DataCiteService
from support.dicom import ct
from support.zones_under_test import bare_stack

TABLES = ("series.parquet", "instances.parquet")


def go(context: ProjectContext) -> None:
    refs = find_studies(context, "drop", StudyQuery())
    for name in STEPS:
        refs = run_step(context, name, refs).refs


def vault_files(stack: Stack) -> int:
    """Files of DICOM objects in any vault of any zone."""
    places = [p for vault in stack.storage.values() for p in vault.rglob("*")]
    files = [p for p in places if p.is_file() and p.stat().st_size > 200]
    files = [p for p in files if p.read_bytes()[128:132] == b"DICM"]
    return len(files)


def read_table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def name_of(script: str) -> str:
    """The name that ends a script's tickets, as its head tells."""
    found = re.search(r"^# .* Revoke its tickets by the name (\w+)\.$", script, re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_cohort_is_released_fetched_and_survives_a_withdrawal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_stack(tmp_path / "stack") as stack:
        for patient in range(3):
            for number in range(2):
                uid = f"1.2.3.{patient}"
                path = stack.drop / f"{patient}-{number}.dcm"
                ct(path, uid, f"{uid}.1.{number}", fill=number, patient_id=f"P{patient}")
        with ProjectContext(stack.site, "demo") as context:
            go(context)
            assert vault_files(stack) == 18
            with pytest.raises(ConfigError, match="needs criteria"):
                select_cohort(context, Cohort())
            members = select_cohort(context, Cohort(("Modality=CT",)))
            seen = summarise_cohort(members)
            assert (seen.subjects, seen.studies, seen.instances) == (3, 3, 6)
            assert seen.modalities == {"CT": 6}
            assert count_cohort(context, Cohort(("Modality=CT",))) == seen
            first = release_cohort(context, "heads", members, "Heads of three")
            assert first == "/brno/home/demo/releases/heads/v1"
            assert release_cohort(context, "heads", members, "Heads of three") == first
            out = tmp_path / "out"
            assert fetch_release(context.home, first, out).bad == []
            manifest = json.loads((out / "manifest.json").read_text())
            assert all((out / one["path"]).exists() for one in manifest["objects"])
            assert len(manifest["objects"]) == 6
            series, instances = (read_table(out / name) for name in TABLES)
            assert [row["instances"] for row in series] == [2, 2, 2]
            assert {row["path"]: row["sha256"] for row in instances} == {
                one["path"]: one["sha256"] for one in manifest["objects"]
            }
            for row in series:  # the tables have what the study's manifest has
                study = row["collection"].rsplit("/", 1)[0]
                known = Manifest.parse(get_document(context.home, f"{study}/manifest.json") or b"")
                shared = {**known.shared, **known.series[row["SeriesInstanceUID"]]}
                for column in SERIES_ATTRIBUTES:
                    assert row[column.name] == column.read(shared)
                assert row["PatientID"] == row["subject"] and row["Rows"] == 32
            text = "".join(map(str, series + instances)) + (out / "series.csv").read_text()
            assert "Nov" not in text and "1.2.3.0" not in text  # as the hospital has them
            crate = json.loads((out / "ro-crate-metadata.json").read_text())
            ids = {entity["@id"] for entity in crate["@graph"]}
            root = next(entity for entity in crate["@graph"] if entity["@id"] == "./")
            assert {part["@id"] for part in root["hasPart"]} <= ids
            assert "pacsgrid fetch " + first in (out / "README.md").read_text()

            subject = next(iter(members.values()))[0].subject
            uid = next(iter(members.values()))[0].sop_uid
            # One of the patient's objects was thrown into the trash by hand some time ago.
            there = next(o["path"] for o in manifest["objects"] if uid in o["path"])
            context.home.session.data_objects.unlink(f"/brno/home/demo/{there}")
            tickets = issue_release_tickets(
                context.home, first, datetime.now(UTC) + timedelta(days=1)
            )
            theirs = {t for study, t in tickets.studies.items() if study.split("/")[1] == subject}
            stack.zones["praha"].kill()
            assert withdraw(context, subject) == ["praha"]
            # Those of the version that listed the patient are gone, and the patient's own.
            string = TicketQuery.Ticket.string
            left = {row[string] for row in context.home.rows((string,))}
            assert left == set(tickets.studies.values()) - theirs and len(left) == 2
            assert vault_files(stack) == 14  # the partner's two are still there
            stack.start_zone("praha")
            assert erase_pending(context, datetime.now(UTC) + timedelta(hours=1)) == []
            assert vault_files(stack) == 12
            states = sorted(row.state for row in context.ledger.studies.find("demo"))
            assert states == [StudyState.VERIFIED, StudyState.VERIFIED, StudyState.WITHDRAWN]
            proofs = {
                row.zone: json.loads(row.proof)
                for row in context.ledger.withdrawals.of_project("demo")
            }
            # Two instances, manifest and report: at home twice each.
            assert proofs["brno"]["vault_files_gone"] == proofs["brno"]["replicas"] == 8
            assert proofs["praha"]["vault_files_gone"] == 4
            assert not context.home.session.collections.exists(first)
            second = first.replace("v1", "v2")
            again = tmp_path / "again"
            assert fetch_release(context.home, second, again).bad == []
            rows = [row for name in TABLES for row in read_table(again / name)]
            assert rows and subject not in {row["subject"] for row in rows}
            text = b"".join(
                path.read_bytes()
                for path in again.iterdir()
                if path.is_file() and path.suffix != ".parquet"
            )
            assert subject.encode() not in text and b"1 studies were withdrawn" in text
            assert b"# Heads of three" in text  # as the version before

            ct(stack.drop / "late.dcm", "1.2.3.77", "1.2.3.77.1.1", patient_id="P0")
            ct(stack.drop / "late1.dcm", "1.2.3.78", "1.2.3.78.1.1", patient_id="P1")
            ct(stack.drop / "late2.dcm", "1.2.3.79", "1.2.3.79.1.1", patient_id="P2")
            go(context)
            assert [row.code for row in context.ledger.held.queue("demo")] == ["withdrawn"]

        monkeypatch.setenv(SITE_ENV, str(stack.dir / "site.yaml"))
        assert main(["cohort", "demo", "Modality=CT", "--release", "all"]) == 0
        assert "2 subjects, 4 studies" in capsys.readouterr().out
        made = "/brno/home/demo/releases/all/v1"
        assert main(["ticket", "demo", f"{made}/", "--days", "2"]) == 0
        script = capsys.readouterr().out
        assert script.count(f"\n{name_of(script)}.") == 4
        assert main(["ticket", "demo", made, "--revoke", name_of(script)]) == 0
        assert capsys.readouterr().out == "tickets revoked: 5\n"
        assert main(["ticket", "demo", "/brno/home/demo/data"]) == 0
        assert main(["ticket", "demo", made, "--revoke", capsys.readouterr().out.strip()]) == 0
        assert capsys.readouterr().out == "tickets revoked: 1\n"
        assert main(["withdraw", "demo", "nobody"]) == 2


def test_each_version_has_a_doi_that_names_the_version_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bare_stack(tmp_path / "stack") as stack, DataCiteService() as service:
        monkeypatch.setenv("AIRFLOW_CONN_DOIS", service.connection())
        terms = {
            "licence": "CC-BY-4.0",
            "publisher": "Hospital",
            "doi": {"connection": "dois", "prefix": PREFIX},
        }
        site = stack.site
        site.projects["demo"] = site.project("demo").replace(release=terms)
        for patient in range(2):
            path = stack.drop / f"{patient}.dcm"
            ct(path, f"1.2.{patient}", f"1.2.{patient}.1", patient_id=f"P{patient}")
        with ProjectContext(site, "demo") as context:
            go(context)
            everyone = select_cohort(context, Cohort(criteria=("Modality = CT",)))
            some = dict([next(iter(everyone.items()))])

            def document(release: str, name: str) -> Any:
                return json.loads(get_document(context.home, f"{release}/{name}") or b"")

            service.out_of_order = 503
            with pytest.raises(RetryableError, match="answers 503"):
                release_cohort(context, "heads", some)
            service.out_of_order = 0
            first = release_cohort(context, "heads", some)
            dois = [f"{PREFIX}/brno.demo.heads.v{version}" for version in (1, 2)]
            assert document(first, "datacite.json")["doi"] == dois[0]
            asked = len(service.asked)
            assert release_cohort(context, "heads", some) == first
            assert len(service.asked) == asked  # it has one already
            second = release_cohort(context, "heads", everyone)
            assert document(second, "datacite.json")["doi"] == dois[1]
            assert list(service.dois) == dois
            for doi, other, relation in (
                (dois[0], dois[1], "IsPreviousVersionOf"),
                (dois[1], dois[0], "IsNewVersionOf"),
            ):
                (related,) = service.dois[doi]["relatedIdentifiers"]
                assert (related["relatedIdentifier"], related["relationType"]) == (other, relation)

            # A withdrawal does not wait for the service.
            service.out_of_order = 503
            assert withdraw(context, next(iter(some.values()))[0].subject) == []
            (left,) = context.ledger.releases.versions("demo")[2:]
            assert (left.version, left.doi, left.retired_at) == (3, "", None)
            third = second.replace("v2", "v3")
            assert "doi" not in document(third, "datacite.json")
            service.out_of_order = 0
            rest = {ref: rows for ref, rows in everyone.items() if ref not in some}
            assert release_cohort(context, "heads", rest) == third
            assert document(third, "datacite.json")["doi"] == dois[1].replace("v2", "v3")
