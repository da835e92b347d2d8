"""Quirks of real PACS over DIMSE.

Each of these made other software lose images, hang or retry for ever (openradx/adit#415,
pynetdicom#764 and #426, DICOM-RST#56).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from pacsgrid.config import SourceSettings
from pacsgrid.dimse.presentation_contexts import MAX_CONTEXTS, TRANSFER_SYNTAXES
from pacsgrid.errors import SourceError, SourceUnavailableError
from pacsgrid.model import FoundStudy
from pacsgrid.pacs import open_source

STUDY = FoundStudy("1.2.3", "")
STORAGE = "1.2.840.10008.5.1.4.1.1."
Answers = Callable[[evt.Event], Iterator[object]]


@contextmanager
def pacs(
    state: Path, classes: list[str], give: Answers, accepted: list[str] | None = None
) -> Iterator[tuple[SourceSettings, list[list[str]]]]:
    """Serve a study of one instance for each SOP class, and what `give` makes of a C-GET.

    Gives the source's settings, and the SOP classes that each association offered to take.
    """
    offered: list[list[str]] = []

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        series = event.identifier.QueryRetrieveLevel == "SERIES"
        for number, uid in enumerate(classes):
            data = Dataset()
            data.StudyInstanceUID, data.SeriesInstanceUID = STUDY.study_uid, f"1.2.3.{number}"
            data.Modality = "OT"
            if not series:
                data.SOPInstanceUID, data.SOPClassUID = f"1.2.3.{number}.1", uid
            if series or event.identifier.SeriesInstanceUID == data.SeriesInstanceUID:
                yield 0xFF00, data

    def requested(event: evt.Event) -> None:
        contexts = event.assoc.requestor.requested_contexts
        assert len(contexts) <= MAX_CONTEXTS
        found = {str(one.abstract_syntax) for one in contexts}
        offered.append(sorted(uid for uid in found if uid.startswith(STORAGE)))

    entity = AE(ae_title="ODD")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    for uid in classes if accepted is None else accepted:
        entity.add_supported_context(uid, list(TRANSFER_SYNTAXES), scu_role=False, scp_role=True)
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, give), (evt.EVT_REQUESTED, requested)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        port = server.socket.getsockname()[1]
        yield (
            SourceSettings(
                name="odd", kind="dimse", host="127.0.0.1", port=port, ae_title="ODD", state=state
            ),
            offered,
        )
    finally:
        server.shutdown()


def instance(uid: str, sop_class: str) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = sop_class, uid
    data.StudyInstanceUID = STUDY.study_uid
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


def asked_for(event: evt.Event, classes: list[str]) -> list[Dataset]:
    number = int(str(event.identifier.SeriesInstanceUID).rpartition(".")[2])
    return [instance(f"1.2.3.{number}.1", classes[number])]


def test_success_without_the_images_is_no_success(tmp_path: Path) -> None:
    classes = [CTImageStorage, CTImageStorage]

    def give(event: evt.Event) -> Iterator[object]:
        instances = asked_for(event, classes)
        if instances[0].SOPInstanceUID == "1.2.3.1.1":
            instances = []  # and success is said all the same
        yield len(instances)
        for one in instances:
            yield 0xFF00, one

    late = pytest.raises(SourceUnavailableError, match="1 of 2 instances did not arrive")
    with pacs(tmp_path / "state", classes, give) as (settings, _), late:
        open_source(settings).retrieve(STUDY, tmp_path / "in")
    assert len(list((tmp_path / "in").iterdir())) == 1


def test_out_of_resources_is_tried_again_later(tmp_path: Path) -> None:
    def give(event: evt.Event) -> Iterator[object]:
        yield 1
        yield 0xA701, None

    busy = pytest.raises(SourceUnavailableError)
    with pacs(tmp_path / "state", [CTImageStorage], give) as (settings, _), busy as caught:
        open_source(settings).retrieve(STUDY, tmp_path / "in")
    assert caught.value.retryable


def test_no_accepted_context_is_final(tmp_path: Path) -> None:
    def give(event: evt.Event) -> Iterator[object]:
        yield 0

    refused = pytest.raises(SourceError, match="no storage context accepted")
    with pacs(tmp_path / "s", [CTImageStorage], give, []) as (settings, offered), refused as caught:
        open_source(settings).retrieve(STUDY, tmp_path / "in")
    assert not caught.value.retryable
    assert len([uids for uids in offered if uids]) == 1


def test_many_sop_classes_take_several_associations(tmp_path: Path) -> None:
    ends = ("1", "2", "4", "6.1", "7", "20", "128", "12.1", "12.2", "88.11", "88.22", "481.2")
    classes = [STORAGE + end for end in ends]

    def give(event: evt.Event) -> Iterator[object]:
        instances = asked_for(event, classes)
        yield len(instances)
        for one in instances:
            yield 0xFF00, one

    with pacs(tmp_path / "state", classes, give) as (settings, offered):
        items = open_source(settings).retrieve(STUDY, tmp_path / "in")
    assert len(items) == len(classes)
    taking = [uids for uids in offered if uids]
    assert len(taking) > 1 and set().union(*taking) == set(classes)
