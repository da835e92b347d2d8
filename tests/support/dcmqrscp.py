"""DCMTK's dcmqrscp as a PACS to test against."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from pacsgrid.config import SourceSettings
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from support.pydicom_files import Sample
from support.receiver_process import associate

DCMQRSCP = Path("/usr/bin/dcmqrscp")


class Dcmqrscp:
    """A dcmqrscp on loopback that takes and gives these samples in their own syntaxes."""

    def __init__(self, directory: Path, samples: Iterable[Sample], move_port: int) -> None:
        self.directory, self.samples, self.move_port = directory, list(samples), move_port
        self.dicom_port = reserve_port()
        storage = directory / "storage"
        storage.mkdir(parents=True)
        (directory / "dcmqrscp.cfg").write_text(
            f"NetworkTCPPort = {self.dicom_port}\nMaxPDUSize = 65536\nMaxAssociations = 32\n"
            "HostTable BEGIN\n"
            f"pacsgrid = (PACSGRID, 127.0.0.1, {move_port})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\nARCHIVE {storage} RW (500, 1024mb) ANY\nAETable END\n"
        )
        (directory / "syntaxes.cfg").write_text(_profiles(self.samples))

    def __enter__(self) -> Dcmqrscp:
        command = [str(DCMQRSCP), "-c", str(self.directory / "dcmqrscp.cfg")]
        command += ["-xf", str(self.directory / "syntaxes.cfg"), "In", "Out"]
        self._child = ChildProcess("dcmqrscp", command, self.directory / "log", dict(os.environ))
        self._child.start()
        self._child.wait_ready(lambda: accepts(self.dicom_port), 60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.stop(5)

    def load(self) -> list[Sample]:
        """Push the samples; gives those it took."""
        paths = [sample.path for sample in self.samples]
        assoc = associate(self.dicom_port, paths, "PACSGRID", ae_title="ARCHIVE")
        taken = []
        for sample in self.samples:
            try:
                if assoc.send_c_store(sample.path).get("Status") == 0:
                    taken.append(sample)
            except ValueError:  # it knows no context for that
                continue
        assoc.release()
        return taken

    def settings(self, retrieve: str = "get") -> SourceSettings:
        return SourceSettings(
            name="dcmqrscp",
            kind="dimse",
            host="127.0.0.1",
            port=self.dicom_port,
            ae_title="ARCHIVE",
            retrieve=retrieve,
            move_port=self.move_port,
            state=self.directory / "state",
        )


def _profiles(samples: list[Sample]) -> str:
    """Give an association configuration: in, each class in any syntax; out, what there is."""
    kinds = sorted({(one.sop_class, one.syntax) for one in samples})
    syntaxes = sorted({syntax for _, syntax in kinds})
    text = "[[TransferSyntaxes]]\n[All]\n"
    text += "".join(f"TransferSyntax{n} = {one}\n" for n, one in enumerate(syntaxes, 1))
    for n, syntax in enumerate(syntaxes):
        text += f"[Only{n}]\nTransferSyntax1 = {syntax}\n"
    text += "[Plain]\nTransferSyntax1 = 1.2.840.10008.1.2\n"
    text += "[[PresentationContexts]]\n[In]\n"
    classes = sorted({sop_class for sop_class, _ in kinds})
    find, move, get = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
    contexts = [f"{one}\\All" for one in classes]
    contexts += [f"{one}\\Plain" for one in ("1.2.840.10008.1.1", find, move, get)]
    text += "".join(f"PresentationContext{n} = {one}\n" for n, one in enumerate(contexts, 1))
    text += "[Out]\n"
    # It sends each class in the first context that fits, so the usual syntax stands first.
    usual = sorted(kinds, key=lambda kind: kind[1] != "1.2.840.10008.1.2.1")
    for n, (sop_class, syntax) in enumerate(usual, 1):
        text += f"PresentationContext{n} = {sop_class}\\Only{syntaxes.index(syntax)}\n"
    text += "[[SCPSCURoleSelection]]\n[Roles]\n"
    text += "".join(f"Role{n} = {one}\\Both\n" for n, one in enumerate(classes, 1))
    text += "[[Profiles]]\n[In]\nPresentationContexts = In\nSCPSCURoleSelection = Roles\n"
    return text + "[Out]\nPresentationContexts = Out\n"
