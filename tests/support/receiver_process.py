"""The receiver as a process of its own, as a site runs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType

from pydicom import dcmread
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from pacsgrid.dimse.reactor import work_around_races
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import OPERATOR, Stack
from pacsgrid.pacs.storage_scp.incoming import PARTS, Incoming


class RunningReceiver:
    """A receiver on loopback that lives as long as the context."""

    def __init__(self, directory: Path, folder: Path | None = None, **settings: object) -> None:
        self.port = reserve_port()
        self.folder = folder or directory / "incoming"
        self.log = directory / "receiver.log"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "key").write_text("key")
        receiver = {
            "folder": str(self.folder),
            "bind": "127.0.0.1",
            "port": self.port,
            "reserve_mb": 0,
            "quiet_seconds": 0.5,
            "allow": [{"ae_title": "MODALITY", "address": "127.0.0.0/8"}],
            **settings,
        }
        site = {
            **{room: str(directory / room) for room in ("staging", "outbox", "quarantine")},
            "vault_key_file": str(directory / "key"),
            "zones": {},
            "projects": {},
            "sources": {},
            "receiver": receiver,
        }
        self._site = directory / "site.yaml"
        self._site.write_text(json.dumps(site))
        self._child: ChildProcess | None = None

    def __enter__(self) -> RunningReceiver:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child:
            self._child.stop(30)
        if error:
            print(self.log.read_text()[-5000:])

    def start(self) -> None:
        env = {**os.environ, "PACSGRID_SITE": str(self._site), "PACSGRID_LEDGER_DSN": "unused"}
        env["PYTHONPATH"] = os.pathsep.join(sys.path)
        command = [sys.executable, "-m", "pacsgrid", "receive"]
        self._child = ChildProcess("receiver", command, self.log, env)
        self._child.start()
        self._child.wait_ready(lambda: accepts(self.port), 90)

    def kill(self) -> None:
        """Send SIGKILL to the listener and its children."""
        assert self._child
        self._child.kill()

    def pid(self) -> int:
        """Return the listener's process ID."""
        assert self._child
        return self._child.pid

    def children(self) -> list[int]:
        """Return the process IDs of the watcher and the associations, oldest first."""
        assert self._child
        text = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children").read_text()
        return [int(one) for one in text.split()]

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*/*.dcm"))

    def unfinished(self) -> list[str]:
        return sorted(path.name for path in (self.folder / PARTS).iterdir())


def receive(folder: Path, paths: list[Path]) -> None:
    """Write files into a folder as the receiver does."""
    incoming = Incoming(folder, 0)
    for path in paths:
        meta = dcmread(path, stop_before_pixels=True).file_meta
        start = 144 + int(meta.FileMetaInformationGroupLength)
        arrival = incoming.begin(
            str(meta.MediaStorageSOPClassUID),
            str(meta.MediaStorageSOPInstanceUID),
            str(meta.TransferSyntaxUID),
        )
        arrival.write(path.read_bytes()[start:])
        incoming.finish(arrival)
    incoming.flush()
    incoming.close()


def announcing(stack: Stack) -> dict[str, str]:
    """Return settings with which a receiver announces studies to the stack's Airflow."""
    password = stack.dir / "operator.password"
    password.write_text(stack.password(OPERATOR))
    return {
        "airflow_url": stack.url,
        "airflow_user": OPERATOR,
        "password_file": str(password),
        "project": "demo",
    }


def associate(
    port: int, paths: list[Path], calling: str = "MODALITY", **more: object
) -> Association:
    """Open an association that can carry these files as they are."""
    kinds = set()
    for path in paths:
        meta = dcmread(path, stop_before_pixels=True).file_meta
        kinds.add((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))
    kinds.add(("1.2.840.10008.1.1", "1.2.840.10008.1.2"))
    entity = AE(ae_title=calling)
    entity.dimse_timeout = entity.network_timeout = 120  # a machine may pause
    options = {"ae_title": "PACSGRID", **more}
    contexts = [build_context(*kind) for kind in sorted(kinds)]
    association = entity.associate("127.0.0.1", port, contexts=contexts, **options)
    work_around_races(association)
    return association
