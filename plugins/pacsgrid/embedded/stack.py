"""All of pacsgrid on one machine: PostgreSQL, a PACS, two federated zones and Airflow.

The demo and the tests use it. All files are below one directory; started again with the same
directory, it continues where it stopped.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import requests
import yaml
from irods.exception import UserDoesNotExist

from pacsgrid.config import SITE_ENV, Site, load_site
from pacsgrid.embedded.pacs import EmbeddedPacs
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.postgres import EmbeddedPostgres
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.grid import Zone
from pacsgrid.grid.admin import prepare_zone
from pacsgrid.grid.sharing import share
from pacsgrid.ledger import prepare

ROOT = Path(__file__).resolve().parents[3]
STEWARD, OPERATOR, GUEST = "steward", "operator", "guest"
# A user of the home zone, who reads the project through the gateway.
RESEARCHER = "researcher"
# Users of Airflow's simple auth manager, with their roles.
USERS = {STEWARD: "user", OPERATOR: "admin", GUEST: "viewer"}
DSN_ENV = "PACSGRID_LEDGER_DSN"
# The role that works with the ledger; the superuser owns it.
LEDGER_ROLE = "ledger"
ZONES = ("brno", "praha")
# Two good replicas in the home zone, one in the partner zone.
COPIES = {"brno": 2, "praha": 1}


class Stack:
    """All services, embedded.

    Parameters
    ----------
    directory
        For all files; created if it does not exist.
    airflow
        Whether to start Airflow too.
    say
        Called with each line of progress.
    settings
        Further settings of Airflow, such as ``METRICS__STATSD_ON``.
    viewer
        The folder of the viewer's files, for the gateway and the page.
    meanwhile
        Called when the PACS and the zones run, while Airflow still starts.
    """

    def __init__(
        self,
        directory: Path,
        airflow: bool = True,
        say: Callable[[str], None] = print,
        settings: Mapping[str, str] | None = None,
        viewer: Path | None = None,
        meanwhile: Callable[[Stack], None] = lambda stack: None,
    ) -> None:
        self._meanwhile = meanwhile
        self._settings = dict(settings or {})
        self._viewer = viewer
        self.dir = directory.resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self._airflow, self._say = airflow, say
        self._secrets = self._keep_secrets()
        self.ports: dict[str, int] = {}
        self.zones: dict[str, ChildProcess] = {}
        # The directory below which each zone has its vaults.
        self.storage: dict[str, Path] = {}
        self.airflow: ChildProcess | None = None
        self.gateway: ChildProcess | None = None
        self._tokens: dict[str, str] = {}
        self.postgres = EmbeddedPostgres(self.dir / "postgres")
        self.pacs = EmbeddedPacs(self.dir / "pacs")
        self.logs = self.dir / "logs"
        self.logs.mkdir(exist_ok=True)
        self.drop = self.dir / "drop"
        self.drop.mkdir(exist_ok=True)

    def _keep_secrets(self) -> dict[str, str]:
        path = self.dir / "secrets.json"
        for key in ("vault.key", "project.key"):
            if not (self.dir / key).exists():
                _private(self.dir / key, secrets.token_bytes(32))
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        names = (*USERS, "zone", "federation", "jwt", "web", RESEARCHER)
        kept = {name: secrets.token_hex(16) for name in names} | kept
        _private(path, json.dumps(kept).encode())
        return kept

    # -- starting and stopping ------------------------------------------------------------

    def start(self) -> None:
        """Start everything; raises RuntimeError naming the service and its log."""
        self._say("starting PostgreSQL")
        self.postgres.__enter__()
        for database in ("ledger", "airflow"):
            self.postgres.create_database(database)
        # Else a run stands still for ever when the scheduler was killed while it looked at it.
        self.postgres.end_idle_transactions("airflow", 120)
        self.postgres.create_role(LEDGER_ROLE)
        prepare(self.postgres.dsn("ledger"), self._ledger_dsn())
        for server in ("gateway", *ZONES):
            self.ports[server] = reserve_port()
        self.write_site()
        if self._airflow:
            self._say("starting Airflow, and meanwhile the others")
            self._begin_airflow()
        self._say("starting the PACS")
        self.pacs.__enter__()
        self.start_zones()
        self._meanwhile(self)
        if self._airflow:
            self._await_airflow()

    def start_zones(self) -> None:
        """Start both zones, and create their resources."""
        self._say("starting the zones brno and praha, federated")
        for zone in ZONES:
            self.storage[zone] = self.dir / "zones" / zone
            self.start_zone(zone)
        for name in ZONES:
            with Zone(self.site.zone(name)) as client:
                leaves = [f"{name}_disk{n}" for n in range(1, COPIES[name] + 1)]
                prepare_zone(client, {f"{name}_root": leaves}, str(self.dir / "vaults" / name))

    def start_zone(self, zone: str) -> None:
        """Start the server of one zone, on the port reserved for it."""
        command = [sys.executable, "-m", "irods_zone", "--zone", zone]
        command += ["--port", str(self.ports[zone]), "--dir", str(self.dir / "zones" / zone)]
        command += ["--admin", "rods", "--password", self._secrets["zone"]]
        for other in ZONES:
            if other != zone:
                address = f"{other}=127.0.0.1:{self.ports[other]}:{self._secrets['federation']}"
                command += ["--federate", address]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
        child = ChildProcess(f"zone {zone}", command, self.logs / f"zone-{zone}.log", env)
        child.start()
        self.zones[zone] = child
        child.wait_ready(lambda: accepts(self.ports[zone]), 120)

    def start_gateway(self) -> None:
        """Start the gateway, and let `RESEARCHER` read the project; wait until it answers."""
        with Zone(self.site.zone("brno")) as home:
            try:
                home.session.users.get(RESEARCHER)
            except UserDoesNotExist:
                home.session.users.create(RESEARCHER, "rodsuser")
            share(home, "demo", [f"{RESEARCHER}#brno"])
        command = [sys.executable, "-m", "pacsgrid", "gateway"]
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "plugins"),
            DSN_ENV: self._ledger_dsn(),
            SITE_ENV: str(self.dir / "site.yaml"),
        }
        child = ChildProcess("gateway", command, self.logs / "gateway.log", env)
        child.start()
        self.gateway = child
        child.wait_ready(lambda: accepts(self.ports["gateway"]), 120)

    def gateway_link(self, study_uid: str) -> str:
        """Return a link that signs `RESEARCHER` in and shows a study in the viewer.

        What stands behind ``#`` a browser sends to no server.
        """
        target = f"/viewer/viewer?StudyInstanceUIDs={study_uid}"
        page = f"http://127.0.0.1:{self.ports['gateway']}/researcher/"
        return f"{page}?next={quote(target, safe='')}#token={self._secrets[RESEARCHER]}"

    def start_airflow(self) -> None:
        """Start Airflow with its database in the embedded PostgreSQL; wait until it answers."""
        self._begin_airflow()
        self._await_airflow()

    def _begin_airflow(self) -> None:
        self._tokens.clear()
        for server in ("airflow", "worker_logs", "triggerer_logs"):
            self.ports[server] = reserve_port()
        env = self.airflow_env()
        child = ChildProcess(
            "Airflow",
            [str(Path(sys.executable).parent / "airflow"), "standalone"],
            self.logs / "airflow.log",
            env,
        )
        child.start()
        self.airflow = child

    def _await_airflow(self) -> None:
        assert self.airflow is not None
        self.airflow.wait_ready(self._airflow_ready, 600)

    def _airflow_ready(self) -> bool:
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
            if any(
                health[part]["status"] != "healthy"
                for part in ("metadatabase", "scheduler", "dag_processor")
            ):
                return False
            return self.api("GET", "/dags/ingest_studies").status_code == 200
        except (requests.RequestException, ValueError, KeyError):
            return False

    def stop(self) -> None:
        """Stop everything that runs, in the reverse order of the start."""
        if self.gateway:
            self.gateway.stop()
        if self.airflow:
            self.airflow.stop(30)
        for child in self.zones.values():
            child.stop()
        self.pacs.__exit__(None, None, None)
        self.postgres.__exit__(None, None, None)

    def __enter__(self) -> Self:
        """Start everything; what has started is stopped when something does not start."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.stop()

    # -- settings -------------------------------------------------------------------------

    def write_site(self) -> None:
        """Write the site file, with the ports in use."""
        pacs = self.pacs.settings()
        site: dict[str, Any] = {
            "staging": str(self.dir / "staging"),
            "outbox": str(self.dir / "outbox"),
            "quarantine": str(self.dir / "quarantine"),
            "vault_key_file": str(self.dir / "vault.key"),
            "batch_size": 4,
            "sources": {
                "pacs": {
                    "kind": "dimse",
                    "host": pacs.host,
                    "port": pacs.port,
                    "ae_title": pacs.ae_title,
                },
                "drop": {"kind": "folder", "folder": str(self.drop)},
                "received": {"kind": "received", "folder": str(self.dir / "incoming")},
            },
            "zones": {name: self.zone_section(name) for name in ZONES},
            "projects": {
                "demo": {
                    "profile": "basic",
                    "profiles": ["research", "strict"],
                    "home_zone": "brno",
                    "partner_zones": ["praha"],
                    "key_file": str(self.dir / "project.key"),
                    "nightly": ["pacs"],
                    "nightly_from": "2024-01-01",
                    "requests": {},
                }
            },
            "gateway": {
                "serve": [{"zone": name} for name in ZONES],
                "index": str(self.dir / "gateway" / "index.sqlite"),
                "airflow_users": {STEWARD: "rods#brno"},
                "bind": "127.0.0.1",
                "http_port": self.ports["gateway"],
                "tokens": [
                    {
                        "name": RESEARCHER,
                        "user": f"{RESEARCHER}#brno",
                        "sha256": sha256(self._secrets[RESEARCHER].encode()).hexdigest(),
                    }
                ],
                **({"viewer": str(self._viewer)} if self._viewer else {}),
            },
        }
        (self.dir / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))

    def zone_section(self, name: str) -> dict[str, Any]:
        """Return the section of a zone in the site file."""
        password = self.dir / "zone.password"
        _private(password, self._secrets["zone"].encode())
        return {
            "host": "127.0.0.1",
            "port": self.ports[name],
            "user": "rods",
            "password_file": str(password),
            "resource": f"{name}_root",
            "copies": COPIES[name],
        }

    def _ledger_dsn(self) -> str:
        return self.postgres.dsn("ledger", LEDGER_ROLE)

    @property
    def site(self) -> Site:
        """The site's settings, read from its file."""
        os.environ[DSN_ENV] = self._ledger_dsn()
        return load_site(self.dir / "site.yaml")

    def airflow_env(self) -> dict[str, str]:
        """Return the environment of Airflow's processes."""
        home = self.dir / "airflow"
        home.mkdir(exist_ok=True)
        passwords = home / "passwords.json"
        _private(passwords, json.dumps({name: self._secrets[name] for name in USERS}).encode())
        port = self.ports["airflow"]
        settings = {
            "CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            # For the Test button of connections, which only operators can use.
            "CORE__TEST_CONNECTION": "Enabled",
            # A worker for each core, and one more for tasks that wait for the network.
            "CORE__PARALLELISM": str((os.cpu_count() or 1) + 1),
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in USERS.items()
            ),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "DATABASE__SQL_ALCHEMY_CONN": self.postgres.url("airflow"),
            "API__HOST": "127.0.0.1",
            "API__PORT": str(port),
            "API__BASE_URL": f"http://127.0.0.1:{port}",
            "API__WORKERS": "1",
            "API__SECRET_KEY": self._secrets["web"],
            "API_AUTH__JWT_SECRET": self._secrets["jwt"],
            # The DAG files are read at the start; reading them again every half minute, as Airflow
            # does by default, takes a fifth of a processor all the time.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # Notice a killed task soon, but not take a task for killed whose heartbeat is late
            # because the machine is busy or was suspended.
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            # In seconds; by then the end of a task's process is noticed.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports["worker_logs"]),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports["triggerer_logs"]),
            "LOGGING__LOGGING_LEVEL": "INFO",
            **self._settings,
        }
        return {
            **os.environ,
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(ROOT / "plugins"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            DSN_ENV: self._ledger_dsn(),
            SITE_ENV: str(self.dir / "site.yaml"),
        }

    # -- Airflow's REST API ---------------------------------------------------------------

    @property
    def url(self) -> str:
        """URL of Airflow's server."""
        return f"http://127.0.0.1:{self.ports['airflow']}"

    def password(self, user: str = STEWARD) -> str:
        """Return a user's password for Airflow."""
        return self._secrets[user]

    def token(self, user: str) -> str:
        """Log a user in, and return a token for Airflow's REST API and for the page."""
        login = requests.post(
            f"{self.url}/auth/token",
            json={"username": user, "password": self.password(user)},
            timeout=120,
        )
        login.raise_for_status()
        return str(login.json()["access_token"])

    def api(
        self, method: str, path: str, body: object = None, user: str = STEWARD
    ) -> requests.Response:
        """Call Airflow's REST API.

        Parameters
        ----------
        method
            The HTTP method.
        path
            The path below ``/api/v2``.
        body
            What is sent as JSON, if anything.
        user
            One of `USERS`.

        Returns
        -------
        requests.Response
            Whatever Airflow answers; its status is not checked.
        """
        if user not in self._tokens:
            self._tokens[user] = self.token(user)
        return requests.request(
            method,
            f"{self.url}/api/v2{path}",
            json=body,
            headers={"Authorization": f"Bearer {self._tokens[user]}"},
            timeout=120,
        )

    def trigger(self, conf: dict[str, Any], dag: str = "ingest_studies") -> str:
        """Start a run of a DAG.

        Parameters
        ----------
        conf
            The run's conf.
        dag
            The DAG's id.

        Returns
        -------
        str
            The run's id.

        Raises
        ------
        ValueError
            Airflow refuses the run.
        """
        answer = self.api("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        if answer.status_code >= 400:
            raise ValueError(f"Airflow refused the run: {answer.text}")
        run_id: str = answer.json()["dag_run_id"]
        return run_id

    def watch(
        self,
        run_id: str,
        seconds: float = 900,
        every: float = 2,
        dag: str = "ingest_studies",
    ) -> str:
        """Follow a run until it ends, reporting its progress.

        Parameters
        ----------
        run_id
            The run's id.
        seconds
            How long to wait for its end.
        every
            Seconds between two requests.
        dag
            The DAG's id.

        Returns
        -------
        str
            Its final state, ``success`` or ``failed``.

        Raises
        ------
        TimeoutError
            The run has not ended in time.
        """
        until, reported = time.monotonic() + seconds, ""
        runs = f"/dags/{dag}/dagRuns"
        while True:
            state: str = self.api("GET", f"{runs}/{run_id}").json()["state"]
            tasks = self.api("GET", f"{runs}/{run_id}/taskInstances?limit=100").json()[
                "task_instances"
            ]
            done: dict[str, list[int]] = {}
            for task in tasks:
                if task["state"] == "removed" or (task["map_index"] < 0 and "." in task["task_id"]):
                    continue
                counts = done.setdefault(task["task_id"].removeprefix("batch."), [0, 0])
                counts[0] += task["state"] == "success"
                counts[1] += 1
            progress = "  ".join(f"{name} {a}/{b}" for name, (a, b) in done.items())
            if progress != reported:
                self._say(f"  {progress}")
                reported = progress
            if state in ("success", "failed"):
                for task in tasks:
                    if task["state"] == "failed":
                        self._say_why(f"{runs}/{run_id}", task)
                return state
            if time.monotonic() > until:
                raise TimeoutError(f"run {run_id} is {state} after {seconds:.0f} s")
            time.sleep(every)

    def _say_why(self, run: str, task: dict[str, Any]) -> None:
        """Report the last errors in a failed task's log."""
        path = f"{run}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        answer = self.api("GET", f"{path}?full_content=true&map_index={task['map_index']}")
        entries = answer.json().get("content", []) if answer.ok else []
        errors = [e["event"] for e in entries if e.get("level") in ("error", "critical")]
        self._say(f"  {task['task_id']} failed: {'; '.join(errors[-3:]) or 'its log says nothing'}")


def _private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
