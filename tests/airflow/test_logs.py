"""Old task logs go, and nothing else."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from pacsgrid.airflow.logs import sweep_logs

NOW = 1_000_000_000.0
DAY = 86400


def _file(path: Path, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a line")
    os.utime(path, (NOW - days * DAY,) * 2)
    return path


def test_old_logs_go_with_their_folders_and_nothing_else(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    old = _file(logs / "dag_id=a" / "run_id=1" / "task_id=t" / "attempt=1.log", 91)
    rolled = _file(logs / "scheduler" / "x.log.3", 200)
    trigger = _file(logs / "dag_id=a" / "run_id=1" / "task_id=t" / "attempt=1.log.17.log", 91)
    young = _file(logs / "dag_id=a" / "run_id=2" / "task_id=t" / "attempt=1.log", 89)
    other = _file(logs / "dag_id=a" / "keys.txt", 500)
    outside = _file(tmp_path / "elsewhere" / "audit.log", 500)
    (logs / "latest").symlink_to(outside.parent)
    (logs / "link.log").symlink_to(outside)
    assert sweep_logs(logs, timedelta(days=90), NOW) == 3
    assert not any(path.exists() for path in (old, rolled, trigger))
    assert not old.parents[1].exists() and not rolled.parent.exists()
    assert all(path.exists() for path in (young, other, outside, logs / "link.log"))
    assert (logs / "latest").is_symlink()
    assert sweep_logs(logs, timedelta(days=90), NOW) == 0
    assert sweep_logs(tmp_path / "none", timedelta(days=90), NOW) == 0
