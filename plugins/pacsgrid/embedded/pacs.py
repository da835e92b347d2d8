"""A PACS for the demo and the tests: Debian's Orthanc, or else pynetdicom's qrscp."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from pydicom import dcmread
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from pacsgrid.config import SourceSettings
from pacsgrid.config.sources import Retrieve
from pacsgrid.dimse import status
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.pynetdicom_requestor import open_association
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.errors import SourceUnavailableError

ORTHANC = Path("/usr/sbin/Orthanc")
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_CLASSES_AT_ONCE = 128


def _send(assoc: Association, path: Path) -> int | None:
    try:
        code = assoc.send_c_store(path).get("Status")
    except ValueError:  # no context for its SOP class: qrscp accepts no retired ones
        return None
    return None if code is None else int(code)


class EmbeddedPacs:
    """A PACS on the loopback interface, which keeps its studies in a directory.

    Parameters
    ----------
    directory
        For configuration, storage and log. Started again with it, the PACS has the same studies.
    dicom_port, http_port
        Its ports for DIMSE and HTTP; 0 for reserved ones.
    move_port
        The port that C-MOVE to the AE title `calling` sends to; 0 for a reserved one.
    calling
        The AE title that queries and retrieves.
    engine
        ``orthanc``, ``qrscp``, or empty for Orthanc where it is installed.
    """

    def __init__(
        self,
        directory: Path,
        dicom_port: int = 0,
        http_port: int = 0,
        move_port: int = 0,
        calling: str = "PACSGRID",
        engine: str = "",
    ) -> None:
        self.directory = directory.resolve()
        self.engine = engine or ("orthanc" if ORTHANC.exists() else "qrscp")
        self.ae_title = "ORTHANC"
        self.dicom_port = dicom_port or reserve_port()
        self.http_port = http_port or reserve_port()
        self.move_port = move_port or reserve_port()
        self.calling = calling
        self._server: ChildProcess | None = None

    def __enter__(self) -> EmbeddedPacs:
        """Start the PACS, see `start`."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the PACS."""
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it answers C-ECHO; it ends with this program."""
        if self._server:
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = self._orthanc() if self.engine == "orthanc" else self._qrscp()
        self._server = ChildProcess("embedded PACS", command, self.directory / "server.log")
        try:
            self._server.start()
            self._server.wait_ready(self._answers, _START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._server:
            self._server.stop(_STOP_SECONDS)
            self._server = None

    def settings(self, retrieve: Retrieve = "get") -> SourceSettings:
        """Return the settings of this PACS as a source.

        Parameters
        ----------
        retrieve
            How studies are retrieved: ``get``, ``move`` or ``web``.
        """
        return SourceSettings(
            name="embedded",
            kind="dimse",
            url=f"http://127.0.0.1:{self.http_port}/dicom-web",
            host="127.0.0.1",
            port=self.dicom_port,
            ae_title=self.ae_title,
            calling_ae_title=self.calling,
            retrieve=retrieve,
            move_port=self.move_port,
            state=self.directory / "source",
        )

    def load(self, paths: Iterable[Path]) -> int:
        """Send files by C-STORE in their own transfer syntax, and return how many were stored."""
        by_kind: dict[tuple[str, str], list[Path]] = {}
        for path in paths:
            meta = dcmread(path, stop_before_pixels=True).file_meta
            kind = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
            by_kind.setdefault(kind, []).append(path)
        kinds = sorted(by_kind)
        taken = 0
        for start in range(0, len(kinds), _CLASSES_AT_ONCE):
            part = kinds[start : start + _CLASSES_AT_ONCE]
            taken += self._push(part, [path for kind in part for path in by_kind[kind]])
        return taken

    def _push(self, kinds: list[tuple[str, str]], paths: list[Path]) -> int:
        contexts = [build_context(*kind) for kind in kinds]
        with open_association(self._association(), contexts) as association:
            if not association.is_established:
                raise SourceUnavailableError("embedded PACS: no association for C-STORE")
            # Given a path, pynetdicom sends the dataset's bytes unchanged.
            codes = [_send(association, path) for path in paths]
        return sum(code in (status.SUCCESS, status.SOME_FAILED) for code in codes)

    def _answers(self) -> bool:
        if not accepts(self.dicom_port):
            return False
        with open_association(self._association(), [build_context(Verification)]) as association:
            if not association.is_established:
                return False
            answered: bool = association.send_c_echo().get("Status") == status.SUCCESS
            return answered

    def _association(self) -> AssociationSettings:
        return AssociationSettings("127.0.0.1", self.dicom_port, self.ae_title, self.calling)

    def _orthanc(self) -> list[str]:
        config = {
            "Name": "pacsgrid",
            "StorageDirectory": str(self.directory / "storage"),
            "IndexDirectory": str(self.directory / "storage"),
            "Plugins": [str(DICOMWEB)] if DICOMWEB.exists() else [],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            "HttpPort": self.http_port,
            # No passwords: the server listens on the loopback interface only.
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": True,
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "UnknownSopClassAccepted": True,
            "DefaultEncoding": "Utf8",
            "OverwriteInstances": False,
            "StorageCompression": False,
            "TcpNoDelay": True,
            "DicomModalities": {"pacsgrid": [self.calling, "127.0.0.1", self.move_port]},
        }
        path = self.directory / "orthanc.json"
        path.write_text(json.dumps(config, indent=1))
        return [str(ORTHANC), str(path)]

    def _qrscp(self) -> list[str]:
        path = self.directory / "qrscp.ini"
        storage = self.directory / "instances"
        storage.mkdir(exist_ok=True)
        path.write_text(
            "[DEFAULT]\n"
            f"ae_title: {self.ae_title}\nport: {self.dicom_port}\nmax_pdu: 0\n"
            "acse_timeout: 30\ndimse_timeout: 30\nnetwork_timeout: 30\n"
            "bind_address: 127.0.0.1\n"
            f"instance_location: {storage}\n"
            f"database_location: {self.directory / 'instances.sqlite'}\n"
            f"[{self.calling}]\nae_title: {self.calling}\n"
            f"address: 127.0.0.1\nport: {self.move_port}\n"
        )
        return [sys.executable, "-m", "pynetdicom", "qrscp", "-c", str(path), "-q"]
