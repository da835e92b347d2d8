"""Waves in a real Airflow whose tasks may map to five batches, while its processes are killed."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import IngestState
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext, waves
from support.dicom import ct
from support.replica_proofs import proven_once
from support.waiting import wait_until

pytestmark = pytest.mark.e2e
# Airflow maps to five batches at most.
STUDIES, BATCH, IN_A_WAVE = 17, 1, 5


@pytest.fixture
def small_waves(stack: Stack) -> Iterator[Stack]:
    """The stack with batches of one study."""
    site = stack.dir / "site.yaml"
    before = site.read_text()
    site.write_text(yaml.safe_dump({**yaml.safe_load(before), "batch_size": BATCH}))
    yield stack
    site.write_text(before)


def _titles(session: int) -> dict[int, str]:
    """Return the title of each process of a session, by its id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.getsid(int(entry.name)) == session:
                    title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = title.strip()
    return found


def _kill(stack: Stack, what: str) -> int:
    """Kill -9 the processes of the stack's Airflow whose title matches `what`."""
    assert stack.airflow is not None
    killed = 0
    for pid, title in _titles(stack.airflow.pid).items():
        if re.match(what, title):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def _replace_scheduler(stack: Stack, schedulers: list[ChildProcess]) -> None:
    """Kill -9 the scheduler, and start another one."""
    wait_until(lambda: _kill(stack, ".*airflow scheduler") > 0, 60, 0.1)
    command = [str(Path(sys.executable).parent / "airflow"), "scheduler"]
    log = stack.logs / "scheduler.log"
    child = ChildProcess("scheduler", command, log, stack.airflow_env())
    child.start()
    schedulers.append(child)


def test_waves_follow_each_other_though_airflow_is_killed(
    small_waves: Stack, schedulers: list[ChildProcess]
) -> None:
    stack = small_waves
    root = "1.2.826.9191"
    for number in range(STUDIES):
        path = Path(stack.drop, f"{root}.{number}.dcm")
        ct(path, f"{root}.{number}", f"{root}.{number}.1.1", patient_id=f"99{number:04d}/11")
    run = stack.trigger({"source": "drop", "project": "demo"})
    name = waves.ingest_id(run)
    with ProjectContext(stack.site, "demo") as context:
        ledger = context.ledger

        def wave_number(at_least: int) -> bool:
            ingest = ledger.ingests.get(name)
            return ingest is not None and ingest.waves >= at_least

        wait_until(lambda: wave_number(1), 180, 0.2)
        wait_until(lambda: _kill(stack, "airflow worker -- [0-9a-f-]{36}$") > 0, 60, 0.1)
        wait_until(lambda: wave_number(2), 240, 0.2)
        _replace_scheduler(stack, schedulers)

        def ended() -> bool:
            ingest = ledger.ingests.get(name)
            return ingest is not None and ingest.state is IngestState.ENDED

        wait_until(ended, 600, 0.5)
        ingest = ledger.ingests.get(name)
        assert ingest is not None
        assert (ingest.found, ingest.verified, ingest.pending) == (STUDIES, STUDIES, 0)
        rows = ledger.database.all(
            "SELECT number, studies FROM pacsgrid.wave WHERE ingest = %s ORDER BY number", (name,)
        )
        assert [number for number, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) >= 4
        assert max(studies for _, studies in rows) <= IN_A_WAVE
        for number in range(STUDIES):
            ref = context.pseudonyms.reference("drop", f"{root}.{number}")
            assert ledger.studies.state(ref) is StudyState.VERIFIED and proven_once(context, ref)
            became = Counter(change.became for change in ledger.audit.changes(ref))
            assert became["verified"] == became["deposited"] == 1
    runs = stack.api("GET", "/dags/ingest_studies/dagRuns?limit=100").json()["dag_runs"]
    mine = Counter(one["dag_run_id"] for one in runs if name in one["dag_run_id"])
    assert mine == Counter(waves.next_run_id(name, number) for number in range(2, len(rows) + 1))
