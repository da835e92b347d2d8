"""Random samples for a human double check, their verdicts, and the report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import yaml

from pacsgrid.cli import main
from pacsgrid.ledger import STATE_ORDER, Ledger, Vault
from pacsgrid.model import AnonymisedInstance
from support.seeded import seeded_bytes

KEY = seeded_bytes(32, "key")
LIMIT = ["--limit", "20", "--confidence", "90"]


@pytest.fixture
def site(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Ledger, list[str]]]:
    """A project with three verified studies of ten instances, one of them ultrasound."""
    ledger = Ledger(dsn)
    for study, modality in enumerate(("CT", "CT", "US")):
        ref, uid, subject = f"st-{study}", f"2.25.{study}", f"S{study}"
        ledger.studies.add_found(ref, "demo", "pacs", "hash", Vault(KEY).seal(ref, {}))
        made = [
            AnonymisedInstance(
                uid,
                f"{uid}.1",
                f"{uid}.1.{n}",
                subject,
                modality,
                "4",
                "ab" * 32,
                10,
                Path("x"),
            )
            for n in range(10)
        ]
        ledger.instances.add(ref, made)
        for state in STATE_ORDER[1:]:
            ledger.studies.advance(ref, state)
    ledger.releases.add("demo", "heads", 1, "cd" * 32, ["st-0"])
    (tmp_path / "vault.key").write_bytes(KEY)
    (tmp_path / "demo.key").write_bytes(KEY)
    regions = [{"modality": "US", "manufacturer": "^(a|b)$", "blank": [[0, 0, 9, 9]]}]
    profile = {"name": "ours", "version": "1", "options": [], "pixels": {"regions": regions}}
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(profile))
    file = tmp_path / "site.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
                "vault_key_file": str(tmp_path / "vault.key"),
                "sources": {},
                "zones": {
                    "brno": {
                        "host": "localhost", "port": 1247, "user": "rods",
                        "password_env": "ZONE_PASSWORD",
                    }
                },
                "projects": {
                    "demo": {
                        "profile": str(tmp_path / "ours.yaml"), "home_zone": "brno",
                        "key_file": str(tmp_path / "demo.key"),
                    }
                },
            }
        )
    )  # fmt: skip
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
    monkeypatch.setenv("ZONE_PASSWORD", "x")
    yield ledger, ["demo", "--site", str(file)]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def risk(args: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["risk", *args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def record(args: list[str], sheet: list[dict[str, str]], file: Path, who: str) -> int:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, sheet[0])
        writer.writeheader()
        writer.writerows(sheet)
    return main(["sample", *args, "--show", "1", "--record", str(file), "--who", who])


def test_a_sample_is_drawn_checked_and_reported(
    site: tuple[Ledger, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, args = site
    assert main(["sample", *args, *LIMIT, "--who", "eva"]) == 0
    out = capsys.readouterr()
    sheet = rows(out.out)
    # Of 30 instances, 8 show a share above 20 % (7 or more) with 90 %.
    assert "sample 1: 8 instances" in out.err
    assert len({row["path"] for row in sheet}) == len(sheet) == 8
    assert all(row["path"].startswith("/brno/home/demo/data/S") for row in sheet)

    (before,) = risk(args, capsys)["samples"]  # type: ignore[misc]
    assert (before["bound"], before["met"]) == (1.0, False)
    for row in sheet:
        row["verdict"] = "clean"
    assert record(args, sheet, tmp_path / "sheet.csv", "eva") == 0
    (after,) = risk(args, capsys)["samples"]  # type: ignore[misc]
    assert (after["sample"]["checked"], after["sample"]["found"]) == (8, 0)
    assert after["met"] and after["bound"] <= 0.2

    # A second reader sees a name: that counts, whatever the first one saw.
    assert record(args, [{**sheet[0], "verdict": "Name"}], tmp_path / "two.csv", "jan") == 0
    capsys.readouterr()
    report = risk(args, capsys)
    (found,) = report["samples"]  # type: ignore[misc]
    assert (found["sample"]["checked"], found["sample"]["found"]) == (8, 1)
    assert not found["met"] and report["findings"] == {"name": 1}
    assert main(["sample", *args, "--show", "1", "--who", "jan"]) == 0
    assert [row["verdict"] for row in rows(capsys.readouterr().out)][:2] == ["name", ""]
    assert main(["risk", *args]) == 0
    page = capsys.readouterr().out
    assert "(plan not met)" in page and "| US | `^(a\\|b)$` | any | any x any | 1 |" in page


def test_a_release_or_a_modality_bounds_what_is_drawn_from(
    site: tuple[Ledger, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, args = site
    assert main(["sample", *args, *LIMIT, "--who", "eva", "--release", "heads"]) == 0
    assert {row["path"].split("/")[5] for row in rows(capsys.readouterr().out)} == {"S0"}
    assert main(["sample", *args, *LIMIT, "--who", "eva", "--modality", "US"]) == 0
    assert {row["modality"] for row in rows(capsys.readouterr().out)} == {"US"}
    assert [s.population for s in ledger.samples.of_project("demo")] == [10, 10]
    for wrong in (["--release", "tails"], ["--modality", "MR"], ["--limit", "0"], ["--who", " "]):
        assert main(["sample", *args, "--who", "eva", *wrong]) == 2
    assert len(ledger.samples.of_project("demo")) == 2


def test_a_wrong_table_enters_nothing(
    site: tuple[Ledger, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, args = site
    assert main(["sample", *args, *LIMIT, "--who", "eva"]) == 0
    good = [{**row, "verdict": "clean"} for row in rows(capsys.readouterr().out)]
    for change, message in [
        ({"verdict": "fine"}, "line 3: the verdict is none of clean, name"),
        ({"number": "77"}, "line 3: sample 1 has no instance of this number"),
        ({"path": good[2]["path"]}, "line 3: the path is not that of sample 1"),
    ]:
        bad = [good[0], {**good[1], **change}]
        assert record(args, bad, tmp_path / "sheet.csv", "eva") == 2
        assert message in capsys.readouterr().err
    assert record(args, good, tmp_path / "sheet.csv", "") == 2
    (sample,) = ledger.samples.of_project("demo")
    assert sample.checked == 0


def test_a_verdict_may_be_corrected_and_stays_on_record(
    site: tuple[Ledger, list[str]],
    dsn: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ledger, args = site
    assert main(["sample", *args, *LIMIT, "--who", "eva"]) == 0
    first = rows(capsys.readouterr().out)[:1]
    for verdict in ("date", "clean"):
        assert record(args, [{**first[0], "verdict": verdict}], tmp_path / "s.csv", "eva") == 0
    (sample,) = ledger.samples.of_project("demo")
    assert (sample.checked, sample.found) == (1, 0)
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM pacsgrid.sample_verdict ORDER BY id")
        assert cursor.fetchall() == [("date",), ("clean",)]
        with pytest.raises(psycopg2.Error, match="append-only"):
            cursor.execute("DELETE FROM pacsgrid.sample_verdict")


def test_decisions_are_counted_by_what_was_held(site: tuple[Ledger, list[str]]) -> None:
    ledger, _ = site
    ledger.audit.add_decision("st-0", "Reject", "eva", "", "", {"face", "document"})
    ledger.audit.add_decision("st-1", "Try again", "eva", "", "", {"face"})
    ledger.audit.add_decision("st-2", "Reject", "eva", "made before codes were kept")
    assert ledger.audit.count_decisions("demo") == {
        "": {"Reject": 1},
        "document": {"Reject": 1},
        "face": {"Reject": 1, "Try again": 1},
    }
    ledger.held.add("st-0", "truncated", "cut")
    ledger.studies.hold("st-1", "face", "a head")
    assert ledger.held.count_by_code("demo") == {"face": 1, "truncated": 1}
