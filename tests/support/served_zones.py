"""Two zones with real DICOM files in them, as the pipeline leaves them, and users who may read."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import yaml
from irods.access import iRODSAccess
from irods.models import DataObject
from pydicom import dcmread

from irods_zone import ZoneServer
from pacsgrid import grid
from pacsgrid.config import Site, ZoneSettings, load_site
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.gateway.web.bounded_server import BoundedServer, ServerLimits
from pacsgrid.grid import Zone
from pacsgrid.grid.admin import prepare_zone
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pacs.multipart import MultipartReader, boundary_of
from pacsgrid.pipeline.attributes import read_attributes
from pacsgrid.pipeline.manifest import MANIFEST, Manifest
from support.waiting import wait_until

PROJECT = "demo"
TOKENS = {"eva": "eva#brno", "jan": "jan#brno", "jana": "jana#praha", "nobody": "nobody#brno"}


@dataclass
class Deposited:
    """A study as it was deposited."""

    subject: str
    study: str
    rows: list[InstanceRecord]
    paths: dict[str, Path] = field(default_factory=dict)


class ServedZones:
    """Zones brno (two replicas) and praha (one), federated, and a site that serves both."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self._stack = ExitStack()
        self.servers: dict[str, ZoneServer] = {}
        self.zones: dict[str, Zone] = {}
        self.ports = {"brno": reserve_port(), "praha": reserve_port()}
        self.studies: list[Deposited] = []

    def __enter__(self) -> ServedZones:
        for name in self.ports:
            self.start(name)
            resource, copies = ("pair", 2) if name == "brno" else ("demoResc", 1)
            settings = ZoneSettings(
                name=name,
                host="127.0.0.1",
                port=self.ports[name],
                user="rods",
                password="x",
                resource=resource,
                copies=copies,
            )
            self.zones[name] = self._stack.enter_context(Zone(settings))
        prepare_zone(self.home, {"pair": ["disk1", "disk2"]}, str(self.dir / "vaults"))
        for user in TOKENS.values():
            name, _, zone = user.partition("#")
            self.zones[zone].session.users.create(name, "rodsuser")
        self.home.session.users.create_remote("jana", "praha")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        for server in self.servers.values():
            server.__exit__(None, None, None)

    def start(self, name: str) -> None:
        others = {o: ("127.0.0.1", p, "shared") for o, p in self.ports.items() if o != name}
        server = ZoneServer(
            zone=name,
            directory=self.dir / name,
            port=self.ports[name],
            admin="rods",
            password="x",
            federate=others,
        )
        server.__enter__()
        self.servers[name] = server
        if name in self.zones:
            self.zones[name].close()

    def stop(self, name: str) -> None:
        self.servers.pop(name).__exit__(None, None, None)

    @property
    def home(self) -> Zone:
        return self.zones["brno"]

    @property
    def partner(self) -> Zone:
        return self.zones["praha"]

    def add(self, paths: Iterable[Path], zones: Sequence[str] = ("brno",)) -> list[Deposited]:
        """Deposit files, a subject for each PatientID, with their manifests."""
        by_study: dict[str, Deposited] = {}
        for path in paths:
            ds = dcmread(path, stop_before_pixels=True)
            study, sop = str(ds.StudyInstanceUID), str(ds.SOPInstanceUID)
            patient = str(ds.get("PatientID") or "none")
            subject = "S" + hashlib.sha256(patient.encode()).hexdigest()[:8]
            row = InstanceRecord(
                study,
                str(ds.SeriesInstanceUID),
                sop,
                subject,
                str(ds.get("Modality") or ""),
                hashlib.sha256(path.read_bytes()).hexdigest(),
                path.stat().st_size,
            )
            one = by_study.setdefault(study, Deposited(subject, study, []))
            one.rows.append(replace(row, subject=one.subject))
            one.paths[sop] = path
        for one in by_study.values():
            for zone in zones:
                self.put(one, zone)
        self.studies += by_study.values()
        return list(by_study.values())

    def put(self, one: Deposited, zone: str, attributes: bool = True) -> None:
        """Deposit a study in a zone, or what it lacks of it."""
        client = self.zones[zone]
        grid.ensure_project(client, PROJECT)
        made = [
            AnonymisedInstance(
                r.study_uid,
                r.series_uid,
                r.sop_uid,
                r.subject,
                r.modality,
                "",
                r.sha256,
                r.size,
                one.paths[r.sop_uid],
            )
            for r in one.rows
        ]
        grid.deposit(client, PROJECT, made, {})
        told = one.rows if attributes else ()
        known = {r.sop_uid: read_attributes(one.paths[r.sop_uid]) for r in told}
        manifest = Manifest.build(one.rows, known, PROJECT, "basic", "hash", None)
        grid.put_document(client, f"{self.collection(one, zone)}/{MANIFEST}", manifest.dump())

    @staticmethod
    def collection(one: Deposited, zone: str) -> str:
        return grid.study_collection(zone, PROJECT, one.subject, one.study)

    def grant(self, user: str, path: str, right: str = "read", recursive: bool = True) -> None:
        name, _, home = user.partition("#")
        zone = self.zones[path.split("/")[1]]
        zone.session.acls.set(iRODSAccess(right, path, name, home), recursive=recursive)

    def vault_files(self, zone: str, sop: str) -> list[Path]:
        """The files that hold an instance's replicas."""
        columns = (DataObject.path, DataObject.replica_number)
        rows = list(self.zones[zone].rows(columns, DataObject.name == f"{sop}.dcm"))
        rows.sort(key=lambda row: int(row[DataObject.replica_number]))
        return [Path(row[DataObject.path]) for row in rows]

    def site(self, **gateway: Any) -> Site:
        """The site settings, each user's token being their name twice."""
        key = self.dir / "key"
        key.write_text("x")
        tokens = []
        for name, user in TOKENS.items():
            digest = hashlib.sha256((name * 2).encode()).hexdigest()
            tokens.append({"name": name, "user": user, "sha256": digest, "store": name == "eva"})
        given = {
            **{room: str(self.dir / room) for room in ("staging", "outbox", "quarantine")},
            "vault_key_file": str(key),
            "ledger_dsn_env": "PATH",  # no part of the gateway asks the ledger
            "sources": {},
            "zones": {
                name: {"host": "127.0.0.1", "port": p, "user": "rods", "password_file": str(key)}
                for name, p in self.ports.items()
            },
            "projects": {},
            "gateway": {
                "serve": [
                    {"zone": "brno", "projects": [PROJECT]},
                    {"zone": "praha", "projects": [PROJECT]},
                ],
                "index": str(self.dir / "index" / "index.sqlite"),
                "tokens": tokens,
                "zone_seconds": 10,
                "access_seconds": 0.001,
                **gateway,
            },
        }
        receiver = gateway.pop("receiver", None)
        given["gateway"].pop("receiver", None)
        if receiver:
            given["receiver"] = receiver
        path = self.dir / "site.yaml"
        path.write_text(yaml.safe_dump(given))
        return load_site(path)


def copy_of(path: str | Path, to: Path) -> Path:
    """Copy a file of pydicom's, whole."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    return to


class Listening:
    """An ASGI application served in a thread, as long as the context lives."""

    def __init__(
        self, application: Any, limits: ServerLimits | None = None, port: int = 0, **options: Any
    ) -> None:
        self._server = BoundedServer(application, "127.0.0.1", port, limits, **options)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Listening:
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started
        return self

    def connections(self) -> int:
        """Return how many connections the server holds open."""
        return len(self._server._listener.connections._open)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)


class Client(requests.Session):
    """Asks a DICOMweb service with a user's token."""

    def __init__(self, root: str, name: str = "eva") -> None:
        super().__init__()
        self.root = root
        if name:
            self.headers["Authorization"] = f"Bearer {name * 2}"

    def ask(self, path: str, accept: str = "", **params: Any) -> requests.Response:
        headers = {"Accept": accept} if accept else {}
        return self.get(self.root + path, headers=headers, params=params, timeout=120)

    def parts(self, path: str, accept: str = "", **params: Any) -> list[tuple[str, bytes]]:
        """Ask for a body of several parts; gives each one's content type and content."""
        answer = self.ask(path, accept, **params)
        assert answer.status_code == 200, answer.text
        kind = answer.headers["Content-Type"]
        boundary = boundary_of(kind)
        # As some viewers' loaders insist.
        assert answer.content.startswith(b"--" + boundary + b"\r\nContent-Type: ")
        reader = MultipartReader([answer.content], boundary)
        return [(h["content-type"], b"".join(content)) for h, content in reader.parts()]
