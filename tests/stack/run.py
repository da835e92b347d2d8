"""A day and its accidents on a real stack of containers. Ends with a table of what passed.

    python -m stack.run --state DIR [--site one] [--keep] [--only NAME,NAME]

Needs root, podman and podman-compose (or Docker), and a base image: see `make stack-test`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import ssl
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
from irods.session import iRODSSession
from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE

from stack.containers import STEADY, Airflow, Containers, StackError, wait_for
from support.dicom import ct

PROJECT = "lung"
DAYS = {"date_from": "2024-01-01", "date_to": "2024-01-31"}


class Day:
    """The steps, in their order; each raises when something is not as it should be."""

    def __init__(self, containers: Containers, ports: dict[str, int], host: str) -> None:
        self.it = containers
        self.ports, self.host = ports, host
        self.tls = containers.state / "tls"
        self.address = f"https://{host}:{ports['https']}"
        self.airflow = Airflow(
            self.address, self.tls / "ca.pem", "admin", containers.secret("airflow_admin_password")
        )
        self.work = Path(tempfile.mkdtemp(prefix="pacsgrid-day-"))
        self.sent = 0
        self.backup = ""

    # -- a day ----------------------------------------------------------------------------

    def healthy(self) -> str:
        """Every service is healthy."""
        return f"{len(STEADY)} services in {self.it.wait_healthy():.0f} s"

    def secrets(self) -> str:
        """No secret stands in what podman tells of a container."""
        told = "".join(self.it.podman("inspect", self.it.name(one)) for one in STEADY)
        files = [f for f in (self.it.state / "secrets").rglob("*") if f.is_file()]
        values = {f.name: f.read_bytes().strip() for f in files if f.name not in ("site_ca",)}
        seen = [n for n, v in values.items() if len(v) >= 16 and v.decode("latin-1") in told]
        if seen:
            raise StackError(f"podman inspect shows {', '.join(sorted(seen))}")
        return f"{len(values)} secrets looked for"

    def login(self) -> str:
        """A person logs in through nginx over TLS; a wrong password is refused."""
        self.airflow.login()
        wrong = requests.post(
            f"{self.address}/auth/token",
            json={"username": "admin", "password": "wrong"},
            verify=str(self.tls / "ca.pem"),
            timeout=60,
        )
        if wrong.status_code != 401:
            raise StackError(f"a wrong password was answered with {wrong.status_code}")
        page = self.airflow.ask("GET", "/pacsgrid/api/me")
        return f"projects {', '.join(page['projects'])}"

    def ingest(self) -> str:
        """Studies of the PACS are ingested until both replicas of each are proven."""
        before = self.verified()
        self._send("ORTHANC", self.ports["orthanc"], studies=3)
        conf = {"project": PROJECT, "source": "orthanc", **DAYS}
        self.airflow.wait("ingest_studies", self.airflow.trigger("ingest_studies", conf))
        self._until_verified(before + 3)
        return "3 studies of 2 instances verified"

    def receive(self) -> str:
        """A modality pushes a study over DICOM TLS; it is ingested by itself."""
        before = self.verified()
        self._send("PACSGRID", self.ports["dicom"], studies=1)
        self._until_verified(before + 1)
        return "1 study"

    def hold(self) -> str:
        """A study that cannot be read in part is held, and is seen on the page."""
        before = self.held()
        path = ct(self.work / "odd.dcm", generate_uid(), generate_uid())
        data = dcmread(path)
        data.Modality, data.SOPClassUID = "OT", "1.2.840.10008.5.1.4.1.1.7"
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.add_new(0x00280301, "CS", "YES")
        data.save_as(path)
        self._store("ORTHANC", self.ports["orthanc"], [path])
        conf = {"project": PROJECT, "source": "orthanc", **DAYS}
        self.airflow.wait("ingest_studies", self.airflow.trigger("ingest_studies", conf))
        if self.held() <= before:
            raise StackError("nothing is held")
        return f"{self.held() - before} held with a reason"

    def release(self) -> str:
        """A cohort is released and stands in the zone."""
        name = f"day{int(time.time())}"
        conf = {"project": PROJECT, "name": name, "title": "A day", "criteria": "CT"}
        self.airflow.wait("release_cohort", self.airflow.trigger("release_cohort", conf), 600)
        with self._zone() as session:
            names = [
                o.name
                for o in session.collections.get(
                    f"/one/home/{PROJECT}/releases/{name}"
                ).data_objects
            ]
        return f"{len(names)} documents"

    def fetch(self) -> str:
        """A researcher's client fetches a study over TLS: it is anonymised and readable."""
        with self._zone() as session:
            root = session.collections.get(f"/one/home/{PROJECT}/data")
            objects = [o for _, _, found in root.walk() for o in found if o.name.endswith(".dcm")]
            target = self.work / "fetched.dcm"
            session.data_objects.get(objects[0].path, str(target), forceFlag="")
        data = dcmread(target)
        if "Nov" in str(data.get("PatientName", "")) or data.PatientIdentityRemoved != "YES":
            raise StackError("the fetched file is not anonymised")
        return f"{len(objects)} objects in the zone"

    def gateway(self) -> str:
        """The gateway answers through nginx to whom it knows, and to nobody else."""
        url = f"{self.address}/dicom-web/studies"
        ca = str(self.tls / "ca.pem")
        if requests.get(url, verify=ca, timeout=60).status_code not in (401, 403):
            raise StackError("the gateway answers without a token")
        token = {"Authorization": f"Bearer {self.it.secret('site/gateway_token')}"}
        found: list[Any] = []

        def listed() -> bool:
            nonlocal found
            answer = requests.get(url, verify=ca, headers=token, timeout=60)
            found = answer.json() if answer.status_code == 200 and answer.text else []
            return len(found) >= 4

        wait_for(listed, 300, lambda: f"the gateway lists {len(found)} studies")
        return f"{len(found)} studies"

    def back_up(self) -> str:
        """The site is backed up."""
        self.it.site_command("backup")
        self.backup = sorted(p.name for p in (self.it.state / "backup").iterdir())[-1]
        return self.backup

    def restore(self) -> str:
        """Databases, queue and work files are destroyed; the backup brings the site back."""
        before = self.verified()
        self.it.site_command("down")
        for place in ("postgres", "redis", "staging", "outbox", "gateway"):
            _empty(self.it.state / place)
        said = self.it.site_command("restore", self.backup)
        self.it.wait_healthy()
        if self.verified() != before:
            raise StackError(f"{self.verified()} studies are verified, {before} were")
        return said.strip().splitlines()[-1][:60]

    # -- accidents ------------------------------------------------------------------------

    def killed(self) -> str:
        """Each container in turn is killed in the middle of a run; all is verified in the end."""
        before, total = self.verified(), 0
        for service in STEADY:
            self._send("ORTHANC", self.ports["orthanc"], studies=1)
            total += 1
            conf = {"project": PROJECT, "source": "orthanc", **DAYS}
            run = self.airflow.trigger("ingest_studies", conf)
            time.sleep(4)
            self.it.podman("kill", "--signal", "KILL", self.it.name(service))
            self._start_again(service)
            self.it.wait_healthy()
            try:
                self.airflow.wait("ingest_studies", run)
            except StackError:
                again = self.airflow.trigger("ingest_studies", conf)
                self.airflow.wait("ingest_studies", again)
        self._until_verified(before + total)
        return f"{len(STEADY)} containers, {total} studies verified"

    def host_restart(self) -> str:
        """All goes down and comes up again; a study then goes through."""
        self.it.site_command("down")
        self.it.site_command("up")
        self.it.wait_healthy()
        return self.ingest()

    def second_worker(self) -> str:
        """A second worker is added, works, and is taken away."""
        self.it.site_command("up", "--scale", "worker=2")
        names = self.it.podman("ps", "--format", "{{.Names}}").split()
        if f"pacsgrid-{self.it.site}_worker_2" not in names:
            raise StackError("there is no second worker")
        said = self.ingest()
        self.it.podman("stop", f"pacsgrid-{self.it.site}_worker_2")
        self.it.podman("rm", f"pacsgrid-{self.it.site}_worker_2")
        return said

    def renewed(self) -> str:
        """A certificate that has expired is made anew by the next `./site NAME up`."""
        path = self.tls / "nginx.pem"
        old = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(b"")
        self.it.site_command("down")
        self.it.site_command("up")
        self.it.wait_healthy()
        if path.read_bytes() == old:
            raise StackError("the certificate is the old one")
        self.airflow.login()
        return "nginx"

    def doctor(self) -> str:
        """The doctor finds nothing."""
        return self.it.site_command("doctor").strip().splitlines()[-1][:60]

    # -- what the steps use ---------------------------------------------------------------

    def states(self) -> dict[str, int]:
        """Return how many studies are in each state."""
        flow = self.airflow.ask("GET", f"/pacsgrid/api/flow?project={PROJECT}")
        return {one["state"]: one["studies"] for one in flow["states"]}

    def verified(self) -> int:
        """Return how many studies are verified."""
        return self.states().get("verified", 0)

    def held(self) -> int:
        """Return how many studies and files wait for a steward."""
        counts = self.airflow.ask("GET", f"/pacsgrid/api/held?project={PROJECT}")["counts"]
        return int(counts["studies"]) + int(counts["files"])

    def _until_verified(self, count: int) -> None:
        wait_for(
            lambda: self.verified() >= count,
            900,
            lambda: f"{self.verified()} studies are verified, {count} should be: {self.states()}",
        )

    def _send(self, title: str, port: int, studies: int) -> None:
        paths = []
        for _ in range(studies):
            self.sent += 1
            study = generate_uid()
            for number in range(2):
                path = self.work / f"{self.sent}-{number}.dcm"
                paths.append(ct(path, study, generate_uid(), fill=self.sent % 4096))
        self._store(title, port, paths)

    def _store(self, title: str, port: int, paths: list[Path]) -> None:
        context = ssl.create_default_context(cafile=str(self.tls / "ca.pem"))
        context.check_hostname = False
        context.load_cert_chain(self.tls / "orthanc.pem", self.tls / "orthanc.key")
        entity = AE(ae_title="ORTHANC")
        for data in map(dcmread, paths):
            if data.SOPClassUID not in {one.abstract_syntax for one in entity.requested_contexts}:
                entity.add_requested_context(data.SOPClassUID)
        entity.add_requested_context(CTImageStorage)
        until = time.monotonic() + 240
        while True:
            association = entity.associate(
                "127.0.0.1", port, ae_title=title, tls_args=(context, None)
            )
            if association.is_established:
                break
            if time.monotonic() > until:
                raise StackError(f"{title} takes no association on port {port}")
            time.sleep(3)
        try:
            for path in paths:
                answer = association.send_c_store(dcmread(path))
                if getattr(answer, "Status", None) != 0:
                    raise StackError(f"{title} answered a C-STORE with {answer}")
        finally:
            association.release()

    def _zone(self) -> iRODSSession:
        context = ssl.create_default_context(cafile=str(self.tls / "grid-ca.pem"))
        context.check_hostname = False
        return iRODSSession(
            host="127.0.0.1",
            port=self.ports["irods"],
            user="pacsgrid",
            zone="one",
            password=self.it.secret("irods_service_password"),
            ssl_context=context,
            client_server_negotiation="request_server_negotiation",
            client_server_policy="CS_NEG_REQUIRE",
            encryption_algorithm="AES-256-CBC",
            encryption_key_size=32,
            encryption_num_hash_rounds=16,
            encryption_salt_size=8,
        )

    def _start_again(self, service: str) -> None:
        """Start a killed container if its restart policy did not: podman leaves that to systemd."""
        time.sleep(2)
        if self.it.inspect(service)["State"]["Status"] != "running":
            self.it.podman("start", self.it.name(service))


def _empty(place: Path) -> None:
    for one in place.iterdir():
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


DAY = (
    *("healthy", "secrets", "login", "ingest", "receive", "hold", "release", "fetch", "gateway"),
    *(
        "back_up",
        "restore",
        "doctor",
        "killed",
        "host_restart",
        "renewed",
        "second_worker",
        "doctor",
    ),
)


def main() -> int:
    """Run the steps and print the table; 1 if one did not pass."""
    parser = argparse.ArgumentParser(prog="stack.run", description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, required=True, help="directory for the site's state")
    parser.add_argument("--site", default="one", help="name below docker/sites (default: one)")
    parser.add_argument("--only", default="", help="steps, separated by commas")
    parser.add_argument("--keep", action="store_true", help="leave the stack up")
    options = parser.parse_args()
    env = {
        "PACSGRID_OVERLAYS": os.environ.get("PACSGRID_OVERLAYS", "embedded-zone"),
        "PACSGRID_PROFILES": os.environ.get("PACSGRID_PROFILES", ""),
    }
    containers = Containers(options.site, options.state, env)
    rows: list[tuple[str, str, float, str]] = []

    def step(name: str, call: Callable[[], str]) -> bool:
        start = time.monotonic()
        print(f"-- {name}", flush=True)
        try:
            said, passed = call(), "passed"
        except Exception as error:
            if not isinstance(error, StackError):
                traceback.print_exc()
            said, passed = f"{type(error).__name__}: {error}", "FAILED"
        rows.append((name, passed, time.monotonic() - start, said))
        print(f"   {passed} after {rows[-1][2]:.0f} s: {said}", flush=True)
        return passed == "passed"

    names = options.only.split(",") if options.only else list(DAY)
    try:
        going = bool(options.only) or (
            step(
                "build and start", lambda: f"{len(containers.site_command('up'))} characters of log"
            )
        )
        if going:
            env_file = dict(
                line.partition("=")[::2]
                for line in (containers.state / "compose.env").read_text().splitlines()
                if "=" in line
            )
            ports = {
                "https": int(env_file["PACSGRID_HTTPS_PORT"]),
                "dicom": int(env_file["PACSGRID_DICOM_PORT"]),
                "orthanc": int(env_file["PACSGRID_ORTHANC_PORT"]),
                "irods": int(env_file["PACSGRID_IRODS_PORT"]),
            }
            day = Day(containers, ports, "localhost")
            for name in names:
                if not step(name, getattr(day, name)) and name in ("healthy", "login"):
                    break
    finally:
        containers.close()
        if not options.keep:
            with suppress(StackError):
                containers.site_command("down")
    print(f"\n{'step':18}{'':10}{'seconds':>8}  what was seen")
    for name, passed, seconds, said in rows:
        print(f"{name:18}{passed:10}{seconds:8.0f}  {said.splitlines()[0][:100] if said else ''}")
    return 0 if all(passed == "passed" for _, passed, _, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
