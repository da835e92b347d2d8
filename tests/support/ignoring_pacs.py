"""A PACS that ignores matching keys: it answers and sends whatever it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from pacsgrid.config import SourceSettings

KEYS = ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate", "ModalitiesInStudy")


def listed(**values: str) -> Dataset:
    """Return an answer at study level, with only the given keys."""
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


@contextmanager
def ignoring(
    studies: Sequence[Dataset],
    files: Sequence[Path] = (),
    state: Path | None = None,
    lower: Sequence[Dataset] | None = None,
    **settings: object,
) -> Iterator[tuple[SourceSettings, list[Dataset]]]:
    """Serve such a PACS; yield its settings and the identifiers it was asked.

    Parameters
    ----------
    studies
        Answers to every query at study level.
    files
        Sent for every C-GET, whatever it requests.
    lower
        Answers at series and image level; by default those of all files.
    """
    heads = [dcmread(path) for path in files]
    below = heads if lower is None else lower
    asked: list[Dataset] = []

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        asked.append(event.identifier)
        if event.identifier.QueryRetrieveLevel == "STUDY":
            for data in studies:
                yield 0xFF00, data
            return
        seen: set[str] = set()
        for head in below:
            data = Dataset()
            keywords = ["StudyInstanceUID", "SeriesInstanceUID", "Modality"]
            if event.identifier.QueryRetrieveLevel == "IMAGE":
                keywords += ["SOPInstanceUID", "SOPClassUID"]
            for keyword in keywords:
                if keyword in head:
                    setattr(data, keyword, head[keyword].value)
            if str(data) not in seen:
                seen.add(str(data))
                yield 0xFF00, data

    def get(event: evt.Event) -> Iterator[object]:
        asked.append(event.identifier)
        yield len(heads)
        for head in heads:
            yield 0xFF00, head

    entity = AE(ae_title="ODD")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(CTImageStorage, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        port = server.socket.getsockname()[1]
        base = {"connect_seconds": 60.0, "idle_seconds": 60.0, "state": state, **settings}
        yield (
            SourceSettings(
                name="odd", kind="dimse", host="127.0.0.1", port=port, ae_title="ODD", **base
            ),
            asked,
        )
    finally:
        server.shutdown()
