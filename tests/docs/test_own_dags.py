"""The DAG that docs/own-dags.md shows is read as Airflow's DAG processor reads it."""

from __future__ import annotations

import runpy
from importlib import import_module
from pathlib import Path

import pytest
from airflow.sdk.definitions._internal.contextmanager import DagContext

from support.documents import ROOT, blocks


def test_the_dag_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACSGRID_SITE", raising=False)
    (block,) = (one for one in blocks("python") if one.page == "docs/own-dags.md")
    path = tmp_path / "ask_radiology.py"
    path.write_text(block.text)
    DagContext.autoregistered_dags.clear()
    monkeypatch.setattr(DagContext, "current_autoregister_module_name", "builtins")
    runpy.run_path(str(path))
    ((dag, _),) = DagContext.autoregistered_dags
    assert [task.task_id for task in dag.topological_sort()] == ["home_zone", "synchronise"]


def test_the_classes_that_are_named_are_there() -> None:
    text = (ROOT / "docs" / "own-dags.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    kinds = {row[1].split(",")[0].strip(): row[2] for row in rows}
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for name in kinds[kind].replace("`", "").split(","):
            module, _, one = name.strip().partition(".")
            assert hasattr(import_module(f"pacsgrid.airflow.{kind}.{module}"), one), name
