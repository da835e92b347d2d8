"""Metrics as a StatsD server hears them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from pacsgrid.airflow import maintenance, metrics
from pacsgrid.config import load_site
from pacsgrid.ledger import Ledger, migrate
from pacsgrid.model import AnonymisedInstance, ReplicaProof, StudyState
from pacsgrid.pipeline import ProjectContext
from support.statsd_server import Server

DOCUMENTED = Path(__file__).parents[2] / "docs" / "metrics.md"
MAPPING = Path(__file__).parents[2] / "docker" / "metrics" / "statsd-mapping.yml"
WAY = (StudyState.RETRIEVED, StudyState.ANONYMISED)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    for name, value in {"ON": "True", "HOST": "127.0.0.1", "PORT": str(server.port)}.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
    stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
    yield server
    monkeypatch.undo()
    stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
    server.close()


@pytest.fixture
def filled(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose project has one study verified, one held and one anonymised."""
    (tmp_path / "key").write_bytes(bytes(32))
    site = {
        **{room: str(tmp_path / room) for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": str(tmp_path / "key"),
        "sources": {"drop": {"kind": "folder", "folder": str(tmp_path)}},
        "zones": {"brno": {"host": "x", "port": 1, "user": "x", "password_file": "/dev/null"}},
        "projects": {
            "lung": {"profile": "basic", "home_zone": "brno", "key_file": str(tmp_path / "key")}
        },
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", dsn)
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))
    migrate(dsn)
    ledger = Ledger(dsn, "tester")
    for ref in ("a", "b", "c"):
        ledger.studies.add_found(ref, "lung", "drop", "hash", b"sealed")
    one = AnonymisedInstance("2.1", "2.2", "2.3", "P1", "CT", "", "ab" * 32, 1000, Path("x"))
    for ref in ("a", "c"):
        name = (
            one
            if ref == "a"
            else AnonymisedInstance("3.1", "3.2", "3.3", "P2", "CT", "", "cd" * 32, 2000, Path("x"))
        )
        ledger.instances.add(ref, [name])
        for state in WAY:
            ledger.studies.advance(ref, state)
    for state in (StudyState.DEPOSITED, StudyState.REPLICATED, StudyState.VERIFIED):
        ledger.studies.advance("a", state)
    ledger.proofs.add("a", [ReplicaProof("2.3", "brno", "disk1", 0, "ab" * 32, True)])
    ledger.studies.hold("b", "identity-left", "a name is left")
    return tmp_path


def test_gauges_tell_what_the_ledger_has(statsd: Server, filled: Path) -> None:
    assert metrics.are_enabled()
    assert maintenance.send_metrics() == 1
    heard = statsd.heard()
    for name, value in {
        "studies.lung.verified": "1|g",
        "studies.lung.held": "1|g",
        "studies.lung.found": "0|g",
        "held.lung.identity-left.studies": "1|g",
        "held.lung.identity-left.files": "0|g",
        "replicas.lung.brno.good": "1|g",
        "replicas.lung.brno.bad": "0|g",
        "instances.lung": "1|g",
        "away.brno": "0|g",
    }.items():
        assert heard[f"airflow.pacsgrid.{name}"] == value, name
    with ProjectContext(load_site(), "lung") as context:
        context.ledger.studies.unhold("b")
        context.ledger.held.add("a", "truncated", "the file ends early", "ab" * 32)
    maintenance.send_metrics()
    heard = statsd.heard()
    assert heard["airflow.pacsgrid.held.lung.identity-left.studies"] == "0|g"
    assert heard["airflow.pacsgrid.held.lung.truncated.studies"] == "0|g"
    assert heard["airflow.pacsgrid.held.lung.truncated.files"] == "1|g"
    with ProjectContext(load_site(), "lung") as context:
        context.ledger.held.remove("a")
        context.ledger.counters.fold()
    maintenance.send_metrics()
    assert statsd.heard()["airflow.pacsgrid.held.lung.truncated.files"] == "0|g"


def test_a_step_is_timed_and_what_it_brought_on_is_counted(statsd: Server, filled: Path) -> None:
    with (
        ProjectContext(load_site(), "lung") as context,
        metrics.step(context, "deposit", ["a", "c"]),
    ):
        context.ledger.studies.advance("c", StudyState.DEPOSITED)
    heard = statsd.heard()
    assert heard["airflow.pacsgrid.passed.lung.deposit"] == "1|c"
    assert heard["airflow.pacsgrid.deposited.lung.bytes"] == "2000|c"
    assert heard["airflow.pacsgrid.step.lung.deposit"].endswith("|ms")


def test_every_name_is_documented_and_mapped(statsd: Server, filled: Path) -> None:
    maintenance.send_metrics()
    with ProjectContext(load_site(), "lung") as context, metrics.step(context, "deposit", ["c"]):
        pass
    metrics.count_failure("ingest_studies")
    text = DOCUMENTED.read_text()
    matches = re.findall(r'match: "([^"]+)"', MAPPING.read_text())
    mapped = [re.escape(match).replace(r"\*", "[^.]+") for match in matches]
    described = [
        "airflow." + re.sub(r"<[a-z]+>", "[^.]+", name.replace(".", r"\."))
        for name in re.findall(r"^\| `(pacsgrid\.[^`]+)`", text, re.MULTILINE)
    ]
    heard = statsd.heard()
    assert len(heard) > 20
    for name in heard:
        assert any(re.fullmatch(pattern, name) for pattern in mapped), name
        assert any(re.fullmatch(pattern, name) for pattern in described), name
