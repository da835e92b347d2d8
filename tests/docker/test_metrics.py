"""Dashboard, alerts and mapping speak of metrics that are emitted, and of no others."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

import airflow
from pacsgrid.embedded.ports import accepts, reserve_port
from support.compose_stack import DOCKER
from support.waiting import wait_until

METRICS = DOCKER / "metrics"
DOCUMENTED = DOCKER.parent / "docs" / "metrics.md"
_FUNCTIONS = {
    *("sum", "max", "by", "le", "rate", "increase", "histogram_quantile", "absent"),
    "or",
}


def _mappings() -> list[dict[str, Any]]:
    read: dict[str, Any] = yaml.safe_load((METRICS / "statsd-mapping.yml").read_text())
    return list(read["mappings"])


def _emitted() -> dict[str, str]:
    """Every metric that is sent, with its kind: ours as documented, Airflow's by its registry.

    That the document is true, tests/airflow/test_metrics.py holds against what StatsD hears.
    """
    rows = re.findall(r"^\| `(pacsgrid\.[^`]+)` \| (\w+)", DOCUMENTED.read_text(), re.MULTILINE)
    ours = {re.sub(r"<\w+>", "x", name): kind for name, kind in rows}
    registry = Path(airflow.__file__).parent / "_shared/observability/metrics/metrics_template.yaml"
    theirs: dict[str, str] = {}
    for one in yaml.safe_load(registry.read_text())["metrics"]:
        for name in (one["name"], one["legacy_name"]):
            if name != "-":
                theirs[re.sub(r"\{\w+\}", "x", name)] = one["type"]
    assert len(ours) >= 15 and len(theirs) > 50
    return {f"airflow.{name}": kind for name, kind in (ours | theirs).items()}


def _mapped(name: str) -> tuple[str, set[str]] | None:
    """What statsd_exporter calls a metric: by the first glob that fits, a star for one part."""
    for mapping in _mappings():
        parts = [re.escape(part).replace(r"\*", r"([^.]+)") for part in mapping["match"].split(".")]
        if found := re.fullmatch(r"\.".join(parts), name):
            told = re.sub(r"\$(\d)", lambda n: found[int(n[1])], mapping["name"])
            return told, set(mapping.get("labels", {}))
    return None


def _known() -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for name, kind in _emitted().items():
        if (mapped := _mapped(name)) is None:
            continue
        told, labels = mapped
        for suffix in ("_bucket", "_sum", "_count") if kind == "timer" else ("",):
            known[told + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return known


def _used(expression: str) -> set[tuple[str, frozenset[str]]]:
    """The metrics of a PromQL expression, each with the labels that it is asked for."""
    found = set()
    expression = re.sub(r"^label_values\((\w+), \w+\)$", r"\1", expression)
    for name, labels in re.findall(r"\b(pacsgrid_\w+|airflow_\w+)(\{[^}]*\})?", expression):
        found.add((name, frozenset(re.findall(r"(\w+)\s*[=!]~?", labels))))
    named = r'"[^"]*"|\bup\b|\b(?:pacsgrid|airflow)_\w+|\{[^}]*\}|\[\w+\]|by \([\w, ]+\)'
    left = re.sub(named, "", expression)
    assert set(re.findall(r"[a-z_]{2,}", left)) <= _FUNCTIONS, expression
    return found


def _expressions() -> dict[str, str]:
    dashboard = json.loads((METRICS / "grafana" / "pacsgrid.json").read_text())
    asked = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    asked |= {one["name"]: one["query"]["query"] for one in dashboard["templating"]["list"]}
    groups = yaml.safe_load((METRICS / "alerts.yml").read_text())["groups"]
    return asked | {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def test_dashboard_and_alerts_ask_for_what_is_emitted() -> None:
    known, asked = _known(), _expressions()
    assert len(asked) > 30
    for where, expression in asked.items():
        used = _used(expression)
        # Prometheus itself makes "up", for each that it asks.
        assert used or expression == "up == 0", where
        for name, labels in used:
            assert name in known, f"{where}: nobody sends {name}"
            assert labels <= known[name], f"{where}: {name} has no {sorted(labels - known[name])}"
        for grouped in re.findall(r"by \(([\w, ]+)\)", expression):
            for label in grouped.split(", "):
                assert any(label in known[name] for name, _ in used), f"{where}: no label {label}"


def test_every_metric_of_ours_is_mapped_and_shown() -> None:
    shown = {name for text in _expressions().values() for name, _ in _used(text)}
    for name in _emitted():
        if name.startswith("airflow.pacsgrid."):
            mapped = _mapped(name)
            assert mapped, name
            assert any(one.startswith(mapped[0]) for one in shown), (
                f"{name} is not on the dashboard"
            )


def test_every_mapping_fits_something_that_is_emitted() -> None:
    for mapping in _mappings():
        one = [name for name in _emitted() if _fits(mapping["match"], name)]
        assert one, mapping["match"]
        stars = mapping["match"].count("*")
        numbers = {int(n) for n in re.findall(r"\$(\d)", json.dumps(mapping))}
        assert numbers == set(range(1, stars + 1)), mapping["match"]


def _fits(match: str, name: str) -> bool:
    parts = [re.escape(part).replace(r"\*", r"[^.]+") for part in match.split(".")]
    return re.fullmatch(r"\.".join(parts), name) is not None


def test_the_document_shows_the_mapping_that_is_used() -> None:
    assert "docker/metrics/statsd-mapping.yml" in DOCUMENTED.read_text()


def test_panels_do_not_overlap() -> None:
    dashboard = json.loads((METRICS / "grafana" / "pacsgrid.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def _ask(port: int) -> dict[str, float]:
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_exporter_tells_prometheus_what_statsd_hears() -> None:
    """Counters add up, gauges are the last, times are in seconds; the unknown is left out."""
    statsd, http = reserve_port(), reserve_port()
    program = [sys.executable, METRICS / "statsd_exporter.py", METRICS / "statsd-mapping.yml"]
    running = subprocess.Popen([*program, str(statsd), str(http)])
    try:
        wait_until(lambda: accepts(http))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for line in (
                "airflow.pacsgrid.studies.lung.verified:7|g",
                "airflow.pacsgrid.studies.lung.verified:9|g\nairflow.pacsgrid.away.brno:-1|g",
                "airflow.pacsgrid.passed.lung.verify:2|c",
                "airflow.pacsgrid.passed.lung.verify:1|c|@0.5",
                "airflow.pacsgrid.step.lung.verify:1500|ms",
                "airflow.pacsgrid.step.lung.verify:70000.5|ms",
                "airflow.task.of.nobody:1|c\nnonsense\nairflow.pacsgrid.away.uvn:x|g",
                "airflow.scheduler_heartbeat:1|c",
            ):
                out.sendto(line.encode(), ("127.0.0.1", statsd))
        wait_until(lambda: "airflow_scheduler_heartbeat_total{}" in _ask(http))
        told = _ask(http)
    finally:
        running.terminate()
        running.wait()
    lung = 'project="lung"'
    assert told[f'pacsgrid_studies{{{lung},state="verified"}}'] == 9
    assert told['pacsgrid_zone_away{zone="brno"}'] == -1
    assert told[f'pacsgrid_passed_total{{{lung},step="verify"}}'] == 4
    step = f'{{{lung},step="verify"}}'
    assert told[f"pacsgrid_step_seconds_sum{step}"] == pytest.approx(71.5005)
    buckets = {
        float(found[1]): count
        for name, count in told.items()
        if (found := re.search(r'_bucket\{.*le="([^"]+)"', name))
    }
    assert (buckets[1], buckets[5], buckets[60], buckets[300]) == (0, 1, 1, 2)
    assert buckets[float("inf")] == told[f"pacsgrid_step_seconds_count{step}"] == 2
    assert not [name for name in told if "nobody" in name or "uvn" in name]
