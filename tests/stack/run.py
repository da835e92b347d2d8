"""A day and its accidents on a real stack of containers. Ends with a table of what passed.

    python -m stack.run --state DIR [--site one] [--keep] [--only STEP,STEP | --from STEP]

Needs root, podman and podman-compose (or Docker), and a base image: see `make stack-test`. What
each step saw is kept beside the site's state, so that a step can be repeated and the table be
whole in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from irods.session import iRODSSession
from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE

from stack.containers import DOCKER, STEADY, Airflow, Containers, StackError, wait_for
from support.dicom import ct

PROJECT = "lung"
CONF = {
    "project": PROJECT,
    "source": "orthanc",
    "date_from": "2024-01-01",
    "date_to": "2024-01-31",
}
ALERT = "MetricsMissing"
# What tells who the sample's patient is (support.dicom.ct).
PHI = ("756203/1234", "Novákov", "19750312", "ACC-77123", "Dvořák")
# The services that write their logs as JSON, and nothing else.
JSON = ("scheduler", "dag-processor", "triggerer", "receiver", "gateway", "nginx")


class Day:
    """The steps, in their order; each raises when something is not as it should be."""

    def __init__(
        self, containers: Containers, ports: dict[str, int], host: str, older: str
    ) -> None:
        self.it = containers
        self.older = older
        self.ports, self.host = ports, host
        self.tls = containers.state / "tls"
        self.address = f"https://{host}:{ports['https']}"
        self.airflow = Airflow(
            self.address, self.tls / "ca.pem", "admin", containers.secret("airflow_admin_password")
        )
        self.work = Path(tempfile.mkdtemp(prefix="pacsgrid-day-"))
        self.sent = 0

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
        self.airflow.wait("ingest_studies", self.airflow.trigger("ingest_studies", CONF))
        self._until_verified(before + 3)
        return "3 studies of 2 instances verified"

    def receive(self) -> str:
        """A modality pushes a study over DICOM TLS; it is ingested by itself."""
        before = self.verified()
        self._send("PACSGRID", self.ports["dicom"], studies=1)
        self._until_verified(before + 1)
        return "1 study"

    def hold(self) -> str:
        """A study with a picture that ends early is held, and is seen on the page."""
        before = self.held()
        path = ct(self.work / "odd.dcm", generate_uid()[:60], generate_uid())
        data = dcmread(path)
        data.Modality, data.SOPClassUID = "OT", "1.2.840.10008.5.1.4.1.1.7"
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.PixelData = data.PixelData[:100]  # of two thousand bytes
        data.save_as(path)
        self._store("ORTHANC", self.ports["orthanc"], [path])
        self.airflow.wait("ingest_studies", self.airflow.trigger("ingest_studies", CONF))
        if self.held() <= before:
            raise StackError("nothing is held")
        return f"{self.held() - before} held with a reason"

    def release(self) -> str:
        """A cohort is released and stands in the zone."""
        name = f"day{int(time.time())}"
        conf = {"project": PROJECT, "name": name, "title": "A day", "criteria": ["Modality = CT"]}
        run = self.airflow.trigger("release_cohort", conf)
        self.airflow.answer("release_cohort", run, "Approve")
        self.airflow.wait("release_cohort", run, 600)
        with self._zone() as session:
            made = session.collections.get(f"/one/home/{PROJECT}/releases/{name}")
            names = {one.name for _, _, objects in made.walk() for one in objects}
        if not {"manifest.json", "SHA256SUMS", "fetch.sh"} <= names:
            raise StackError(f"the release has {sorted(names)}")
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
        return self._newest_backup()

    def restore(self) -> str:
        """Databases, queue and work files are destroyed; the backup brings the site back."""
        before, backup = self.verified(), self._newest_backup()
        self.it.site_command("down")
        for place in ("postgres", "redis", "staging", "outbox", "gateway"):
            _empty(self.it.state / place)
        said = self.it.site_command("restore", backup)
        self.it.wait_healthy()
        if self.verified() != before:
            raise StackError(f"{self.verified()} studies are verified, {before} were")
        return said.strip().splitlines()[-1][:60]

    # -- accidents ------------------------------------------------------------------------

    def killed(self) -> str:
        """Each container in turn is killed in the middle of a run; all is verified in the end."""
        before, sent = self.verified(), 0
        runs: list[str] = []
        slowest = ("nothing", 0.0)
        for service in STEADY:
            if not runs or self.airflow.state("ingest_studies", runs[-1]) in ("success", "failed"):
                self._send("ORTHANC", self.ports["orthanc"], studies=2)
                sent += 2
                runs.append(self.airflow.trigger("ingest_studies", CONF))
                wait_for(
                    lambda: any(
                        task["state"] == "running"
                        for task in self.airflow.tasks("ingest_studies", runs[-1])
                    ),
                    300,
                    lambda: "no task of the run begins",
                    every=1,
                )
            self.it.podman("kill", "--signal", "KILL", self.it.name(service))
            self._start_again(service)
            took = self.it.wait_healthy([service])
            slowest = max(slowest, (service, took), key=lambda one: one[1])
            print(f"   {service}: healthy after {took:.0f} s", flush=True)
        for run in runs:
            with suppress(StackError):
                self.airflow.wait("ingest_studies", run)
        # What a run could not do, the next one does: in a hospital, the nightly one.
        if self.verified() < before + sent:
            self.airflow.wait("ingest_studies", self.airflow.trigger("ingest_studies", CONF))
        self._until_verified(before + sent)
        return (
            f"{len(STEADY)} containers during {len(runs)} runs, {sent} studies verified; "
            f"{slowest[0]} took longest: {slowest[1]:.0f} s"
        )

    def host_restart(self) -> str:
        """All goes down and comes up again; a study then goes through."""
        self.it.site_command("down")
        self.it.site_command("up")
        took = self.it.wait_healthy()
        return f"healthy {took:.0f} s after the start; {self.ingest()}"

    def full_disk(self) -> str:
        """A full volume for studies at work loses nothing; with room all goes on."""
        before, place = self.verified(), self.it.state / "staging"
        self._send("ORTHANC", self.ports["orthanc"], studies=1)
        owner = place.stat()
        small = (
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size=4m,uid={owner.st_uid},gid={owner.st_gid},mode=700",
        )
        subprocess.run([*small, "tmpfs", place], check=True)
        try:
            full = place / "full"
            with suppress(OSError), full.open("wb", buffering=0) as out:
                while True:
                    out.write(bytes(65536))
            self._restart("worker")
            run = self.airflow.trigger("ingest_studies", CONF)
            wait_for(
                lambda: self._tried_twice("ingest_studies", run),
                600,
                lambda: "no task of the run failed or is tried again",
            )
            if self.verified() != before:
                raise StackError("a study is verified that had no room")
            full.unlink()
            with suppress(StackError):  # it may have failed for good meanwhile
                self.airflow.wait("ingest_studies", run)
            self.airflow.wait("ingest_studies", self.airflow.trigger("ingest_studies", CONF))
            self._until_verified(before + 1)
        finally:
            self.it.podman("stop", self.it.name("worker"))
            subprocess.run(["umount", place], check=True)
            self.it.podman("start", self.it.name("worker"))
        self.it.wait_healthy()
        return "the study that found no room is verified"

    def renewed(self) -> str:
        """A certificate that has expired is refused, and made anew by `./site NAME restart`."""
        path = self.tls / "nginx.pem"
        _expire(path, self.tls / "ca.pem", self.tls / "ca.key")
        old = path.read_bytes()
        self._restart("nginx", healthy=False)
        wait_for(self._expired, 120, lambda: "the expired certificate is not refused")
        self.it.site_command("restart", "nginx")
        self.it.wait_healthy()
        if path.read_bytes() == old:
            raise StackError("the certificate is the old one")
        self.airflow.login()
        return "nginx's"

    def _expired(self) -> bool:
        try:
            requests.get(f"{self.address}/healthz", verify=str(self.tls / "ca.pem"), timeout=10)
        except requests.exceptions.SSLError as error:
            return "expired" in str(error)
        except requests.RequestException:
            return False
        return False

    def second_worker(self) -> str:
        """A second worker is added, works, and is taken away."""
        self.it.site_command("up", "--scale", "worker=2")
        second = f"pacsgrid-{self.it.site}_worker_2"
        wait_for(
            lambda: (
                "celery@" in self.it.podman("logs", second, check=False)
                or second in self.it.podman("ps", "--format", "{{.Names}}").split()
            ),
            300,
            lambda: "there is no second worker",
        )
        name = self.it.podman("exec", second, "hostname").strip()
        runs = [self.airflow.trigger("ingest_studies", CONF) for _ in range(3)]
        said = self.ingest()
        for run in runs:
            self.airflow.wait("ingest_studies", run)
        worked = sum(
            task["hostname"] == name
            for run in runs
            for task in self.airflow.tasks("ingest_studies", run)
        )
        self.it.podman("stop", "--time", "300", second)
        self.it.podman("rm", second)
        if not worked:
            raise StackError("the second worker did no task")
        return f"{worked} tasks on it; {said}"

    def alert(self) -> str:
        """Prometheus has what the page shows; an alert fires when metrics stop, and is resolved."""
        self.airflow.wait("site_metrics", self.airflow.trigger("site_metrics", {}))
        query = f'pacsgrid_studies{{project="{PROJECT}",state="verified"}}'

        def told() -> bool:
            found = self._prometheus("query", query)["result"]
            return bool(found) and int(found[0]["value"][1]) == self.verified()

        wait_for(told, 600, lambda: f"Prometheus has no {query} as on the page")
        self.it.podman("stop", self.it.name("statsd"))
        start = time.monotonic()
        try:
            wait_for(lambda: self._firing(ALERT), 600, lambda: f"{ALERT} does not fire")
        finally:
            self.it.podman("start", self.it.name("statsd"))
        fired = time.monotonic() - start
        wait_for(lambda: not self._firing(ALERT), 600, lambda: f"{ALERT} is not resolved")
        self.it.wait_healthy()
        return f"{ALERT} fired after {fired:.0f} s, resolved after {time.monotonic() - start:.0f} s"

    def _firing(self, name: str) -> bool:
        found = self._prometheus("alerts")["alerts"]
        return any(a["labels"]["alertname"] == name and a["state"] == "firing" for a in found)

    def _prometheus(self, what: str, query: str = "") -> Any:
        said = self.it.podman(
            *(
                "exec",
                self.it.name("prometheus"),
                "curl",
                "-sS",
                "--cacert",
                "/run/secrets/site_ca",
            ),
            *("--get", "--data-urlencode", f"query={query}"),
            f"https://localhost:9090/api/v1/{what}",
        )
        return json.loads(said)["data"]

    def logs(self) -> str:
        """Logs are JSON; none anywhere has a value of the sample's patient."""
        # Whoever asks for a patient by name must not leave the name in a log either.
        for path in ("/dicom-web/studies", "/pacsgrid/api/held"):
            requests.get(
                f"{self.address}{path}?PatientID={PHI[0]}&PatientName={PHI[1]}",
                verify=str(self.tls / "ca.pem"),
                headers={"Authorization": f"Bearer {self.it.secret('site/gateway_token')}"},
                timeout=60,
            )
        lines, seen, odd = 0, set(), set()
        for service in STEADY:
            text = self.it.log(service)
            seen |= {f"{service}: {one}" for one in PHI if one in text}
            for line in text.splitlines():
                lines += 1
                if service in JSON and not _is_object(line):
                    odd.add(f"{service}: {line[:200]}")
        files = [path for path in (self.it.state / "airflow").rglob("*") if path.is_file()]
        for path in files:
            data = path.read_bytes()
            seen |= {f"{path.name}: {one}" for one in PHI if one.encode() in data}
        if seen:
            raise StackError(f"logs have {', '.join(sorted(seen))}")
        if odd:
            raise StackError(f"{len(odd)} lines are no JSON: {' / '.join(sorted(odd)[:5])}")
        return f"{lines} lines of {len(STEADY)} containers, {len(files)} files of Airflow"

    def sbom(self) -> str:
        """Each image tells what it is made of, in CycloneDX."""
        self.it.site_command("sbom")
        found = {
            path.name: len(json.loads(path.read_text())["components"])
            for path in sorted((self.it.state / "sbom").glob("*.cdx.json"))
        }
        if len(found) < 7 or min(found.values()) < 50:
            raise StackError(f"components: {found}")
        return f"{len(found)} images, {sum(found.values())} components"

    def doctor(self) -> str:
        """The doctor finds nothing."""
        return self.it.site_command("doctor").strip().splitlines()[-1][:60]

    def upgrade(self) -> str:
        """A site of older images, with data in place, goes on with today's."""
        self.it.site_command("down")
        kept = self.it.state.with_name(f"{self.it.site}.kept")
        self.it.state.rename(kept)
        old = self.work / "old"
        repository = ["git", "-C", str(DOCKER.parent)]
        subprocess.run(
            [*repository, "worktree", "add", "--detach", old, self.older],
            check=True,
            capture_output=True,
        )
        try:
            for certificate in (DOCKER / "trust").glob("*.crt"):
                shutil.copy(certificate, old / "docker" / "trust")
            today = self.it.docker
            self.it.docker = old / "docker"
            self.it.site_command("up", build=True)
            self.it.docker = today
            again = Day(self.it, self.ports, self.host, self.older)
            self.it.wait_healthy([one for one in STEADY if self.it.exists(one)])
            again.ingest()
            count = again.verified()
            self.it.site_command("up", build=True)
            self.it.wait_healthy()
            now = Day(self.it, self.ports, self.host, self.older)
            if now.verified() != count:
                raise StackError(f"{now.verified()} studies are verified, {count} were")
            now.ingest()
            now.fetch()
            now.doctor()
            self.it.site_command("down")
        finally:
            self.it.docker = DOCKER
            subprocess.run([*repository, "worktree", "remove", "--force", old], check=False)
            with suppress(StackError):
                self.it.site_command("down")
            shutil.rmtree(self.it.state, ignore_errors=True)
            kept.rename(self.it.state)
            self.it.site_command("up")
            self.it.wait_healthy()
        return f"from {self.older[:12]}: {count} studies kept, 3 more verified"

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
            study = generate_uid()[:60]  # room for the series
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

    def _newest_backup(self) -> str:
        found = sorted(p.name for p in (self.it.state / "backup").iterdir())
        if not found:
            raise StackError("there is no backup; run the step back_up")
        return found[-1]

    def _restart(self, service: str, healthy: bool = True) -> None:
        self.it.podman("restart", self.it.name(service))
        if healthy:
            self.it.wait_healthy([service])

    def _tried_twice(self, dag: str, run: str) -> bool:
        tasks = self.airflow.tasks(dag, run)
        return any(t["state"] in ("failed", "up_for_retry") or t["try_number"] > 1 for t in tasks)

    def _start_again(self, service: str) -> None:
        """Start a killed container if its restart policy did not: podman leaves that to systemd."""
        time.sleep(2)
        if self.it.inspect(service)["State"]["Status"] != "running":
            self.it.podman("start", self.it.name(service))


def _empty(place: Path) -> None:
    for one in place.iterdir():
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


def _expire(path: Path, ca: Path, ca_key: Path) -> None:
    """Put a certificate that ended yesterday in the place of one, for the same key and names."""
    old = x509.load_pem_x509_certificates(path.read_bytes())[0]
    authority = x509.load_pem_x509_certificate(ca.read_bytes())
    signer = load_pem_private_key(ca_key.read_bytes(), None)
    now = datetime.now(UTC)
    new = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(authority.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now - timedelta(days=1))
    )
    for extension in old.extensions:
        new = new.add_extension(extension.value, extension.critical)
    signed = new.sign(signer, hashes.SHA256())  # type: ignore[arg-type] # an elliptic curve's
    path.chmod(0o600)
    path.write_bytes(signed.public_bytes(Encoding.PEM) + ca.read_bytes())
    path.chmod(0o400)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


STEPS = (
    *("up", "healthy", "secrets", "login", "ingest", "receive", "hold", "release", "fetch"),
    *("gateway", "logs", "sbom", "alert", "back_up", "restore", "doctor", "killed"),
    *("host_restart", "full_disk", "renewed", "second_worker", "end_logs", "end_doctor", "upgrade"),
)


def main() -> int:
    """Run the steps and print the table; 1 if one did not pass."""
    parser = argparse.ArgumentParser(prog="stack.run", description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, required=True, help="directory for the site's state")
    parser.add_argument("--site", default="one", help="name below docker/sites (default: one)")
    parser.add_argument("--only", default="", help=f"of the steps {', '.join(STEPS)}")
    parser.add_argument("--from", dest="first", choices=STEPS, help="the first step to run")
    parser.add_argument(
        "--older", default="HEAD~1", help="commit to upgrade from (default: HEAD~1)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the stack up")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(STEPS)
    if options.first:
        names = list(STEPS[STEPS.index(options.first) :])
    env = {
        "PACSGRID_OVERLAYS": os.environ.get("PACSGRID_OVERLAYS", "embedded-zone"),
        "PACSGRID_PROFILES": os.environ.get("PACSGRID_PROFILES", ""),
    }
    containers = Containers(options.site, options.state, env)
    table = Table(options.state / f"{options.site}.steps.json")
    if names[0] == "up":
        table.clear()
    try:
        if names[0] == "up":
            names = names[1:]
            if not table.step("up", lambda: _up(containers)):
                names = []
        day = None
        for name in names:
            day = day or Day(containers, _ports(containers), "localhost", options.older)
            passed = table.step(name, getattr(day, name.removeprefix("end_")), containers.memory)
            if not passed and name in ("healthy", "login"):
                break
    finally:
        containers.close()
        if not options.keep:
            with suppress(StackError):
                containers.site_command("down")
    print(f"\n{table.text()}")
    return 0 if table.passed() else 1


def _up(containers: Containers) -> str:
    """Build the images and start the site."""
    containers.site_command("up", build=True)
    return "images built, containers started"


def _ports(containers: Containers) -> dict[str, int]:
    lines = (containers.state / "compose.env").read_text().splitlines()
    env = dict(line.partition("=")[::2] for line in lines if "=" in line)
    names = {"https": "HTTPS", "dicom": "DICOM", "orthanc": "ORTHANC", "irods": "IRODS"}
    return {name: int(env[f"PACSGRID_{key}_PORT"]) for name, key in names.items()}


class Table:
    """What each step saw, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, dict[str, Any]] = {}
        self._read()

    def _read(self) -> None:
        """Take over what another run has kept meanwhile."""
        if self._path.exists():
            self._rows = json.loads(self._path.read_text())

    def clear(self) -> None:
        """Forget all steps."""
        self._path.unlink(missing_ok=True)
        self._rows = {}

    def step(
        self, name: str, call: Callable[[], str], memory: Callable[[], float] | None = None
    ) -> bool:
        """Run a step and keep what it says; False if it did not pass."""
        start = time.monotonic()
        print(f"-- {name}", flush=True)
        try:
            said, passed = call(), True
        except Exception as error:
            if not isinstance(error, StackError):
                traceback.print_exc()
            said, passed = f"{type(error).__name__}: {error}", False
        took = time.monotonic() - start
        print(f"   {'passed' if passed else 'FAILED'} after {took:.0f} s: {said}", flush=True)
        row = {"passed": passed, "seconds": round(took), "said": said}
        self._read()
        row["gib"] = round(memory() / 2**30, 1) if memory else 0
        self._rows[name] = row
        self._path.write_text(json.dumps(self._rows, indent=1, ensure_ascii=False))
        return passed

    def passed(self) -> bool:
        """Whether all steps that were run have passed."""
        return all(row["passed"] for row in self._rows.values())

    def text(self) -> str:
        """Return the table, in the steps' order."""
        lines = [
            "| step | passed | seconds | memory, GiB | what was seen |",
            "|---|---|---|---|---|",
        ]
        for name in sorted(self._rows, key=STEPS.index):
            row = self._rows[name]
            said = (row["said"].splitlines() or [""])[0][:120]
            passed = "yes" if row["passed"] else "**no**"
            lines.append(f"| {name} | {passed} | {row['seconds']} | {row['gib'] or ''} | {said} |")
        return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
