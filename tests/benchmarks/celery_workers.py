"""`make celery-workers`: two Celery workers with separate work folders; one is killed for good.

Redis and the workers are processes of this machine, each worker with a site file whose staging and
outbox are its own. While one has files of a study it is killed with -9, and not started again until
every study is verified. Then it comes back alone, and its folders must be swept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import yaml

from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import Stack
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.waves import ingest_id

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.dicom import ct

ROOT = "1.2.826.556"
AIRFLOW = str(Path(sys.executable).parent / "airflow")
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
WORKERS = ("one", "two")
WORK_FOLDERS = ("staging", "outbox")


class Cluster:
    """A stack whose Airflow has the Celery executor and two workers."""

    def __init__(self, root: Path, instances_per_second: float) -> None:
        self._leave = ExitStack()
        self._root = root
        self.redis_port = reserve_port()
        self.workers: dict[str, ChildProcess] = {}
        settings = {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CELERY__BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            # A task that a dead worker had fetched, and one that it worked on.
            "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
        }
        self.stack = Stack(root / "stack", airflow=False, settings=settings)
        self._pace = instances_per_second

    def start(self) -> None:
        stack = self.stack
        self._leave.enter_context(stack)
        # What a worker has in memory, Celery's results too, is in PostgreSQL.
        stack._settings["CELERY__RESULT_BACKEND"] = "db+" + stack.postgres.url("airflow")
        for server in ("airflow", "worker_logs", "triggerer_logs"):
            stack.ports[server] = reserve_port()
        self._write_sites()
        self._child("redis", ["redis-server", "--port", str(self.redis_port), "--save", ""], {})
        self._wait(lambda: accepts(self.redis_port), 30)
        migrate = [AIRFLOW, "db", "migrate"]
        subprocess.run(migrate, env=stack.airflow_env(), check=True, capture_output=True)
        for service in SERVICES:
            self._child(service, [AIRFLOW, service], {})
        self._wait(stack._airflow_ready, 400)

    def _write_sites(self) -> None:
        """Write the site file of the scheduler, and one of each worker with its own folders."""
        path = self.stack.dir / "site.yaml"
        site = yaml.safe_load(path.read_text())
        site["batch_size"] = 2
        site["sources"]["pacs"] |= {
            "max_associations": 2,
            "instances_per_second": self._pace,
        }
        path.write_text(yaml.safe_dump(site))
        for worker in WORKERS:
            own = {name: str(self._root / worker / name) for name in WORK_FOLDERS}
            (self._root / worker).mkdir(mode=0o700)
            (self._root / worker / "site.yaml").write_text(yaml.safe_dump(site | own))

    def start_worker(self, name: str) -> None:
        env = {
            "PACSGRID_SITE": str(self._root / name / "site.yaml"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(reserve_port()),
        }
        command = [AIRFLOW, "celery", "worker", "--concurrency", "2"]
        command += ["--celery-hostname", f"{name}@%h", "--pid", str(self._root / name / "pid")]
        self.workers[name] = self._child(f"worker-{name}", command, env)

    def kill_worker(self, name: str) -> None:
        """Kill a worker and the tasks that it runs with -9."""
        session = self.workers.pop(name).pid
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.getsid(int(entry.name)) == session:
                        os.kill(int(entry.name), signal.SIGKILL)

    def files(self, name: str) -> list[Path]:
        """Return what a worker has in its work folders of studies."""
        rooms = [self._root / name / room for room in WORK_FOLDERS]
        return [path for room in rooms for path in room.glob("st-*/*")]

    def stop(self) -> None:
        self._leave.close()

    def _child(self, name: str, command: list[str], env: dict[str, str]) -> ChildProcess:
        log = self.stack.logs / f"{name}.log"
        child = ChildProcess(name, command, log, {**self.stack.airflow_env(), **env})
        child.start()
        self._leave.callback(child.stop, 10)
        return child

    def _wait(self, ready: Callable[[], bool], seconds: float) -> None:
        wait(ready, seconds, "a service to answer")


def wait(ready: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise SystemExit(f"waited {seconds:.0f} s for {what} in vain")
        time.sleep(0.02)


def verified(context: ProjectContext) -> int:
    return sum(one.state is StudyState.VERIFIED for one in context.ledger.studies.find("demo"))


def run(given: argparse.Namespace, root: Path) -> None:
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {text}", flush=True)

    cluster = Cluster(root, given.instances_per_second)
    stack = cluster.stack
    try:
        cluster.start()
        files = [
            ct(
                root / "made" / f"{n}.{one}.dcm",
                f"{ROOT}.{n}",
                f"{ROOT}.{n}.1.{one}",
                fill=one,
                patient_id=f"{n:06d}/{n:04d}",
            )
            for n in range(given.studies)
            for one in range(given.instances)
        ]
        assert stack.pacs.load(files) == len(files)
        for worker in WORKERS:
            cluster.start_worker(worker)
        say(f"Airflow, Redis and two workers run; {given.studies} studies are in the PACS")
        first = stack.trigger({"source": "pacs", "project": "demo"})
        wait(lambda: bool(cluster.files("two")), 300, "worker two to have files")
        cluster.kill_worker("two")
        left = cluster.files("two")
        assert left, "the killed worker had nothing left to sweep"
        say(f"worker two is killed with -9 and leaves {len(left)} files")
        with ProjectContext(stack.site, "demo", actor="benchmark") as context:
            wait(
                lambda: verified(context) == given.studies,
                given.seconds,
                "worker one to finish all studies",
            )
            rows = context.ledger.database.all(
                "SELECT ref FROM pacsgrid.audit WHERE became = 'verified' GROUP BY ref"
                " HAVING count(*) > 1"
            )
            assert not rows, f"{len(rows)} studies were verified twice"
            ingest = context.ledger.ingests.get(ingest_id(first))
        assert ingest is not None
        say(f"all {given.studies} studies are verified, each once, by worker one")
        assert cluster.files("two") == left and not cluster.files("one")
        cluster.workers["one"].stop(60)
        (root / "two" / "pid").unlink(missing_ok=True)
        cluster.start_worker("two")
        run_id = stack.trigger({}, "housekeeping")
        assert stack.watch(run_id, given.seconds, dag="housekeeping") == "success"
        assert not cluster.files("two"), "the folders of the returned worker were not swept"
        say("worker two is back, and has swept its folders")
    except BaseException:
        if given.keep_logs:
            shutil.copytree(stack.logs, given.keep_logs, dirs_exist_ok=True)
        raise
    finally:
        cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--instances", type=int, default=4, help="instances of each study")
    parser.add_argument("--instances-per-second", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=600, help="how long to wait at most")
    parser.add_argument("--keep-logs", type=Path, help="where to copy the logs after a failure")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="pacsgrid-celery-"))
    try:
        run(given, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
