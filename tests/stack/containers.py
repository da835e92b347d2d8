"""One site's containers: started with `docker/site`, looked at and killed with podman."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

DOCKER = Path(__file__).parents[2] / "docker"
STEADY = (
    *("postgres", "redis", "irods", "orthanc", "statsd", "prometheus"),
    *("api-server", "scheduler", "dag-processor", "triggerer", "worker"),
    *("receiver", "gateway", "nginx"),
)


class StackError(Exception):
    """Something of the stack is not as it should be; says what."""


class Containers:
    """The containers of a site.

    Parameters
    ----------
    site
        The site's name below docker/sites.
    state
        The directory for sites' state.
    env
        What the command `docker/site` gets beside this process's environment.
    """

    def __init__(self, site: str, state: Path, env: Mapping[str, str]) -> None:
        self.site = site
        self.state = state / site
        self.docker = DOCKER
        self._env = {**os.environ, **env, "PACSGRID_STATE": str(state)}
        self._stopped = threading.Event()
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self._tending.start()

    def site_command(self, *arguments: str, build: bool = False) -> str:
        """Run `docker/site NAME ...` and return what it printed; raises if it failed.

        Images are built only where `build` says so.
        """
        done = subprocess.run(
            [self.docker / "site", self.site, *arguments],
            env={**self._env, "PACSGRID_BUILD": "yes" if build else "no"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5400,
        )
        if done.returncode != 0:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise StackError(f"site {' '.join(arguments)} ended with {done.returncode}:\n{last}")
        return done.stdout

    def name(self, service: str) -> str:
        """Return the name of a service's first container."""
        return f"pacsgrid-{self.site}_{service}_1"

    def podman(self, *arguments: str, check: bool = True) -> str:
        """Run podman and return what it printed."""
        done = subprocess.run(["podman", *arguments], capture_output=True, text=True)
        if check and done.returncode != 0:
            raise StackError(f"podman {' '.join(arguments[:2])}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def exists(self, service: str) -> bool:
        """Whether there is a container of a service."""
        return not self.podman("inspect", self.name(service), check=False).startswith("[]")

    def log(self, service: str) -> str:
        """Return all that a service's container has written, to either stream."""
        done = subprocess.run(
            ["podman", "logs", self.name(service)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.stdout.decode("utf-8", "replace")

    def memory(self) -> float:
        """Return the memory that the site's containers take now, in bytes."""
        told = self.podman("ps", "--format", "{{.ID}}", "--filter", f"name=pacsgrid-{self.site}_")
        if not told.split():
            return 0
        stats = self.podman("stats", "--no-stream", "--format", "{{.MemUsageBytes}}", *told.split())
        return sum(_bytes(line.split("/")[0]) for line in stats.splitlines() if "/" in line)

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what podman says of a service's container."""
        found: list[dict[str, Any]] = json.loads(self.podman("inspect", self.name(service)))
        return found[0]

    def unhealthy(self, services: Sequence[str] = STEADY) -> list[str]:
        """Return the services whose container does not run or is not healthy."""
        told = self.podman("ps", "--all", "--format", "{{.Names}}\t{{.Status}}")
        states = dict(line.split("\t", 1) for line in told.splitlines() if "\t" in line)
        return [one for one in services if "(healthy)" not in states.get(self.name(one), "")]

    def wait_healthy(self, services: Sequence[str] = STEADY, seconds: float = 900) -> float:
        """Wait until services are healthy; return how long it took."""
        start = time.monotonic()
        wait_for(
            lambda: not self.unhealthy(services), seconds, lambda: str(self.unhealthy(services))
        )
        return time.monotonic() - start

    def secret(self, name: str) -> str:
        """Return a secret of the site."""
        return (self.state / "secrets" / name).read_text().strip()

    def close(self) -> None:
        """Stop looking after the containers' health."""
        self._stopped.set()
        self._tending.join()

    def _tend(self) -> None:
        """Run the health checks: podman leaves that to systemd, which is not everywhere."""
        if os.path.isdir("/run/systemd/system"):
            return
        last = dict.fromkeys(STEADY, 0.0)

        def check(service: str) -> None:
            self.podman("healthcheck", "run", self.name(service), check=False)
            last[service] = time.monotonic()

        with ThreadPoolExecutor(3) as pool:
            while not self._stopped.wait(2):
                bad = set(self.unhealthy())
                pause = {one: 4 if one in bad else 60 for one in STEADY}
                list(pool.map(check, [s for s in STEADY if time.monotonic() > last[s] + pause[s]]))


class Airflow:
    """Airflow through nginx, as a person reaches it.

    Parameters
    ----------
    address
        Where nginx is, such as ``https://pacsgrid-one:8443``.
    authority
        The certificate authority's file.
    user, password
        Who logs in.
    """

    def __init__(self, address: str, authority: Path, user: str, password: str) -> None:
        self.address, self._authority = address, str(authority)
        self._user, self._password = user, password
        self._token = ""

    def login(self) -> None:
        """Get a token; raises StackError if it is refused."""
        until = time.monotonic() + 600
        while True:
            with suppress(requests.ConnectionError):
                answer = requests.post(
                    f"{self.address}/auth/token",
                    json={"username": self._user, "password": self._password},
                    verify=self._authority,
                    timeout=60,
                )
                if answer.status_code < 500:
                    break
            if time.monotonic() > until:
                raise StackError("login: nginx or Airflow does not answer")
            time.sleep(5)
        if answer.status_code >= 400:
            raise StackError(f"login: {answer.status_code} {answer.text[:200]}")
        self._token = answer.json()["access_token"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Call Airflow's REST API; return the answer's JSON. Asks again while a part restarts."""
        until = time.monotonic() + 600
        while True:
            try:
                if not self._token:
                    self.login()
                answer = requests.request(
                    method,
                    f"{self.address}{path}",
                    json=body,
                    headers={"Authorization": f"Bearer {self._token}"},
                    verify=self._authority,
                    timeout=60,
                )
                if answer.status_code == 401:
                    self._token = ""
                elif answer.status_code < 500:
                    if answer.status_code >= 400:
                        raise StackError(
                            f"{method} {path}: {answer.status_code} {answer.text[:300]}"
                        )
                    return answer.json() if answer.text else None
            except (requests.RequestException, ValueError):
                pass
            if time.monotonic() > until:
                raise StackError(f"{method} {path}: no answer in ten minutes")
            time.sleep(3)

    def trigger(self, dag: str, conf: Mapping[str, Any]) -> str:
        """Start a run; return its id."""
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self.ask("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def state(self, dag: str, run: str) -> str:
        """Return a run's state."""
        return str(self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"])

    def wait(self, dag: str, run: str, seconds: float = 1200) -> None:
        """Wait until a run has succeeded; raises StackError if it fails."""
        state = ""

        def ended() -> bool:
            nonlocal state
            state = self.state(dag, run)
            return state in ("success", "failed")

        wait_for(ended, seconds, lambda: f"run of {dag} is {state}", every=3)
        if state != "success":
            failed = [t["task_id"] for t in self.tasks(dag, run) if t["state"] == "failed"]
            raise StackError(f"run of {dag} failed in {failed}")

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """Return the tasks of a run."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances"
        found: list[dict[str, Any]] = self.ask("GET", path)["task_instances"]
        return found

    def answer(self, dag: str, run: str, option: str) -> None:
        """Wait for a run's question to a person, and choose one of its answers."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}"
        wait_for(
            lambda: bool(self.ask("GET", f"{path}/hitlDetails")["hitl_details"]),
            600,
            lambda: f"{dag} asks nothing",
        )
        asked = self.ask("GET", f"{path}/hitlDetails")["hitl_details"][0]["task_instance"]
        where = f"{path}/taskInstances/{asked['task_id']}/{asked['map_index']}/hitlDetails"
        self.ask("PATCH", where, {"chosen_options": [option]})

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """Return a DAG's runs."""
        found: list[dict[str, Any]] = self.ask("GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]
        return found


def _bytes(text: str) -> float:
    number, unit = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*", text).groups()  # type: ignore[union-attr]
    scale = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return float(number) * scale[unit]


def wait_for(
    ready: Callable[[], bool], seconds: float, what: Callable[[], str], every: float = 2
) -> None:
    """Wait until something is so; raises StackError that says what it is instead."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise StackError(f"not after {seconds:.0f} s: {what()}")
        time.sleep(every)
