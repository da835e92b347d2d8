"""The progress of ingests on the command line."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest

from pacsgrid.cli import backfill
from pacsgrid.errors import ConfigError
from pacsgrid.ledger import IngestKind, Ledger, PendingStudy


def run(action: str, ingest: str = "") -> None:
    given = argparse.Namespace(action=action, project="demo", ingest=ingest)
    assert backfill.run_backfill(given) == 0


def test_ingests_are_shown_paused_and_resumed(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = SimpleNamespace(ledger_dsn=dsn, project=lambda name: name)
    monkeypatch.setattr("pacsgrid.config.load_site", lambda: site)
    ledger = Ledger(dsn, "tester")
    ledger.ingests.begin("in-1", "demo", "pacs", IngestKind.BACKFILL)
    refs = [f"st-{number}" for number in range(4)]
    ledger.studies.add_many_found("demo", "pacs", "hash", dict.fromkeys(refs, b"sealed"))
    ledger.worklist.assign("in-1", 2, [PendingStudy(ref) for ref in refs])
    ledger.ingests.add_wave("run", "in-1", True, 1, 0, 0)
    ledger.database.run("UPDATE pacsgrid.work SET run = 'run' WHERE ref = 'st-0'")
    ledger.studies.hold("st-0", "test", "why")
    ledger.database.run("UPDATE pacsgrid.wave SET claimed_at = claimed_at - interval '1 hour'")
    run("status")
    assert capsys.readouterr().out == (
        "in-1 backfill from pacs: running; 4 studies, 0 verified, 1 held, 0 withdrawn, "
        "0 not wanted, 3 pending, 1 waves; 1 studies an hour, 3.0 h of work left\n"
    )
    run("pause", "in-1")
    assert "in-1 backfill from pacs: paused" in capsys.readouterr().out
    assert ledger.database.all("SELECT count(*) FROM pacsgrid.work WHERE paused") == [(3,)]
    run("pause")
    assert capsys.readouterr().out.startswith("nothing to pause\n")
    run("resume")
    assert "in-1 backfill from pacs: running" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="has no ingest in-9; it has: in-1"):
        run("pause", "in-9")
