"""The gateway's DICOM node, queried with DCMTK and compared with Orthanc on the same files."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association as Client
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from pacsgrid.config import SourceSettings
from pacsgrid.dimse.reactor import work_around_races
from pacsgrid.embedded.pacs import ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.dimse.service import Node
from pacsgrid.grid.sharing import share
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.part10 import read_meta
from pacsgrid.uids import is_uid
from support.dicom import ct
from support.pydicom_files import Sample, dataset_bytes, make_corpus
from support.receiver_process import RunningReceiver
from support.served_zones import PROJECT, ServedZones
from support.waiting import wait_until

DCMTK = Path("/usr/bin")
needs_dcmtk = pytest.mark.skipif(not (DCMTK / "getscu").exists(), reason="no DCMTK")
EVA, JAN = "eva#brno", "jan#brno"
FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove


@dataclass
class Served:
    """A gateway that serves pydicom's files, and these files."""

    zones: ServedZones
    gateway: Gateway
    node: Node
    samples: list[Sample]
    store_port: int

    def dcmtk(
        self, program: str, *keys: str, calling: str = "EVA", more: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        command = [str(DCMTK / program), "-aet", calling, "-aec", "PACSGRID", *more]
        for key in keys:
            command += ["-k", key]
        return subprocess.run(
            [*command, "127.0.0.1", str(self.node.port)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def source(self, state: Path, calling: str = "EVA") -> SourceSettings:
        return SourceSettings(
            name="gateway",
            kind="dimse",
            host="127.0.0.1",
            port=self.node.port,
            ae_title="PACSGRID",
            calling_ae_title=calling,
            state=state,
        )


PEERS = [
    {"ae_title": "EVA", "address": "127.0.0.0/8", "user": EVA},
    {"ae_title": "JAN", "user": JAN},
    {"ae_title": "FAR", "address": "192.0.2.0/24", "user": EVA},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("dimse")
    # A grid holds derived UIDs only; two of pydicom's files have some of no root (X.660).
    samples = [one for one in make_corpus(directory / "corpus") if is_uid(one.study)]
    store_port = reserve_port()
    with ServedZones(directory) as zones:
        zones.add([one.path for one in samples])
        share(zones.home, PROJECT, [EVA])
        destination = {"ae_title": "STORE", "host": "127.0.0.1", "port": store_port}
        site = zones.site(
            bind="127.0.0.1",
            dicom_port=0,
            peers=PEERS,
            destinations=[destination],
            idle_seconds=20.0,
            most_answers=500,
        )
        with Gateway(site) as gateway, Node(gateway) as node:
            gateway.refresh()
            yield Served(zones, gateway, node, samples, store_port)


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[ServedZones]:
    with ServedZones(tmp_path / "zones") as made:
        yield made


def node_of(site_of: ServedZones, **more: object) -> Gateway:
    return Gateway(site_of.site(bind="127.0.0.1", dicom_port=0, peers=PEERS, **more))


def ask(port: int, model: str, query: Dataset, calling: str = "EVA") -> list[tuple[int, Dataset]]:
    entity = AE(ae_title=calling)
    entity.add_requested_context(model)
    assoc = entity.associate("127.0.0.1", port, ae_title="PACSGRID")
    work_around_races(assoc)
    assert assoc.is_established
    answers = [(int(status.Status), data) for status, data in assoc.send_c_find(query, model)]
    assoc.release()
    return answers


def query(level: str, **keys: object) -> Dataset:
    data = Dataset()
    data.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(data, keyword, value)
    return data


def uids(answers: list[tuple[int, Dataset]], keyword: str = "StudyInstanceUID") -> list[str]:
    assert answers[-1] == (0, None)
    return sorted(str(data[keyword].value) for _, data in answers[:-1])


# -- who is asked --------------------------------------------------------------------------


@needs_dcmtk
def test_echo_and_strangers(served: Served) -> None:
    assert served.dcmtk("echoscu").returncode == 0
    for calling, more, told in (
        ("OTHER", (), "Calling AE Title Not Recognized"),
        ("FAR", (), "Calling AE Title Not Recognized"),
        ("EVA", ("-aec", "ELSEWHERE"), "Called AE Title Not Recognized"),
    ):
        done = served.dcmtk("echoscu", calling=calling, more=more)
        assert done.returncode and told in done.stderr


def test_what_may_not_be_read_is_not_found(served: Served) -> None:
    assert len(uids(ask(served.node.port, FIND, query("STUDY", StudyInstanceUID="")))) > 20
    assert uids(ask(served.node.port, FIND, query("STUDY", StudyInstanceUID=""), "JAN")) == []
    study = served.samples[0].study
    wanted = query("STUDY", StudyInstanceUID=study)
    assert [code for code, _ in get(served.node.port, wanted, "JAN")] == [0]
    assert [code for code, _ in get(served.node.port, wanted)][-1] == 0


# -- as an Orthanc answers -----------------------------------------------------------------

QUERIES = [
    ("STUDY", {}),
    ("STUDY", {"PatientName": "Compressed*"}),
    ("STUDY", {"PatientName": "compressedsamples^ct1"}),
    ("STUDY", {"PatientID": "?CT1"}),
    ("STUDY", {"StudyDate": "20040101-20041231"}),
    ("STUDY", {"StudyDate": "20040826"}),
    ("STUDY", {"StudyDate": "20010101-20031231"}),
    ("STUDY", {"ModalitiesInStudy": "MR"}),
    ("STUDY", {"ModalitiesInStudy": "MR\\US"}),
    ("SERIES", {"Modality": "CT"}),
    ("SERIES", {"SeriesNumber": "1"}),
    ("IMAGE", {"SOPClassUID": CTImageStorage}),
]
RETURNED = {
    "STUDY": (
        "StudyInstanceUID PatientID PatientName PatientBirthDate PatientSex StudyDate StudyTime"
        " AccessionNumber StudyID StudyDescription ModalitiesInStudy NumberOfStudyRelatedSeries"
        " NumberOfStudyRelatedInstances"
    ),
    "SERIES": (
        "SeriesInstanceUID StudyInstanceUID Modality SeriesNumber NumberOfSeriesRelatedInstances"
    ),
    "IMAGE": "SOPInstanceUID SeriesInstanceUID StudyInstanceUID SOPClassUID InstanceNumber",
}
UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@pytest.fixture(scope="module")
def orthanc(
    served: Served, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, set[str]]]:
    """Start Orthanc; return its port, and the studies of which it accepted every file."""
    if not ORTHANC.exists():
        pytest.skip("no Orthanc")
    with EmbeddedPacs(tmp_path_factory.mktemp("beside"), calling="EVA", engine="orthanc") as pacs:
        url = f"http://127.0.0.1:{pacs.http_port}/instances"
        refused = {
            one.study
            for one in served.samples
            if not requests.post(url, data=one.path.read_bytes(), timeout=60).ok
        }
        assert len(refused) < 5
        yield pacs.dicom_port, {one.study for one in served.samples} - refused


def values(data: Dataset, keywords: list[str]) -> dict[str, str]:
    """Return values by keyword, without padding and with modalities sorted."""
    found = {}
    for keyword in keywords:
        value = data.get(keyword)
        text = "" if value is None else str(value).strip(" ^")
        if keyword == "ModalitiesInStudy":
            many = value if not isinstance(value, str | None) else [value or ""]
            text = "\\".join(sorted(map(str, many)))
        found[keyword] = text
    return found


@pytest.mark.parametrize(("level", "keys"), QUERIES)
def test_answers_are_those_of_orthanc(
    served: Served, orthanc: tuple[int, set[str]], level: str, keys: dict[str, str]
) -> None:
    port, studies = orthanc
    keywords = RETURNED[level].split()
    wanted = query(level, **{**dict.fromkeys(keywords, ""), **keys})
    wanted.SpecificCharacterSet = "ISO_IR 192"
    unique = UNIQUE[level]
    ours, theirs = {}, {}
    for at, called, into in (
        (served.node.port, "PACSGRID", ours),
        (port, "ORTHANC", theirs),
    ):
        entity = AE(ae_title="EVA")
        entity.add_requested_context(FIND)
        assoc = entity.associate("127.0.0.1", at, ae_title=called)
        work_around_races(assoc)
        # Orthanc wants to know the level above.
        for study in [""] if level == "STUDY" else sorted(studies)[:6]:
            wanted.StudyInstanceUID = study
            for status, data in assoc.send_c_find(wanted, FIND):
                assert status.Status in (0, 0xFF00, 0xFF01)
                if data and data.StudyInstanceUID in studies:
                    assert str(data[unique].value) not in into
                    into[str(data[unique].value)] = values(data, keywords)
        assoc.release()
    assert theirs and ours.keys() == theirs.keys()
    for uid, known in theirs.items():
        assert ours[uid] == known


def test_patients(served: Served) -> None:
    wanted = query(
        "PATIENT", PatientID="", PatientName="", NumberOfPatientRelatedInstances="", StudyDate=""
    )
    answers = ask(served.node.port, PatientRootQueryRetrieveInformationModelFind, wanted)
    total = sum(int(data.NumberOfPatientRelatedInstances) for _, data in answers[:-1])
    assert total == len(served.samples)
    assert len(set(uids(answers, "PatientID"))) == len(answers) - 1
    # No such level in the study root; no level; no identifier that can be read.
    for model, level in ((FIND, "PATIENT"), (FIND, ""), (FIND, "WARD")):
        assert ask(served.node.port, model, query(level))[-1][0] == 0xA900


def test_a_list_of_uids_and_an_unknown_key(served: Served) -> None:
    studies = sorted({one.study for one in served.samples})[:3]
    found = ask(served.node.port, FIND, query("STUDY", StudyInstanceUID=studies))
    assert uids(found) == studies
    odd = query("STUDY", StudyInstanceUID="", AdmissionID="7")
    assert {code for code, _ in ask(served.node.port, FIND, odd)} == {0, 0xFF01}


@pytest.mark.parametrize("charset", ["ISO_IR 101", "ISO_IR 192", "ISO_IR 100", ""])
def test_character_sets(zones: ServedZones, charset: str) -> None:
    zones.add([ct(zones.dir / "in" / "1.dcm", "1.2.1", "1.2.1.1")])
    share(zones.home, PROJECT, [EVA])
    with node_of(zones) as gateway, Node(gateway) as node:
        gateway.refresh()
        wanted = query("STUDY", StudyInstanceUID="", PatientName="Nov*")
        if charset:
            wanted.SpecificCharacterSet = charset
        if charset in ("ISO_IR 101", "ISO_IR 192"):
            wanted.PatientName = "nováková*"
        (_, data), _ = ask(node.port, FIND, wanted)
        assert str(data.PatientName) == "Nováková^Žofie"
        kept = charset == "ISO_IR 101"
        assert data.SpecificCharacterSet == ("ISO_IR 101" if kept else "ISO_IR 192")
        # A name without letters of its own needs no character set.
        (_, data), _ = ask(node.port, FIND, query("STUDY", StudyInstanceUID="", StudyID="77"))
        assert "SpecificCharacterSet" not in data


# -- instances -----------------------------------------------------------------------------


def get(
    port: int, wanted: Dataset, calling: str = "EVA", **more: object
) -> list[tuple[int, Dataset]]:
    """Send a C-GET for CT images; return all responses."""
    assoc = get_association(port, calling, **more)
    answers = [(int(status.Status), status) for status, _ in assoc.send_c_get(wanted, GET)]
    assoc.release()
    return answers


def get_association(
    port: int, calling: str = "EVA", syntax: str = "1.2.840.10008.1.2.1", status: int = 0
) -> Client:
    entity = AE(ae_title=calling)
    entity.add_requested_context(GET)
    entity.add_requested_context(CTImageStorage, syntax)
    assoc = entity.associate(
        "127.0.0.1",
        port,
        ae_title="PACSGRID",
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, lambda event: status)],
    )
    work_around_races(assoc)
    assert assoc.is_established
    return assoc


def even(sample: Sample) -> bytes:
    """A deflated dataset of odd length is padded on its way (PS3.5 section A.5)."""
    return sample.dataset + b"\0" * (len(sample.dataset) % 2)


def test_every_file_comes_by_get_as_it_is(served: Served, tmp_path: Path) -> None:
    source = open_source(served.source(tmp_path / "state"))
    source.echo()
    studies = list(source.find_studies(StudyQuery()))
    came = {}
    for number, study in enumerate(studies):
        for item in source.retrieve(study, tmp_path / str(number)):
            meta = read_meta(item.path.read_bytes()[:4096])
            assert meta
            came[item.sop_uid] = (meta.sop_class, meta.transfer_syntax, dataset_bytes(item.path))
    assert len(came) == len(served.samples) > 100
    for one in served.samples:
        assert came[one.sop_uid] == (one.sop_class, one.syntax, even(one)), one.path.name


@needs_dcmtk
def test_every_file_comes_by_move_as_it_is(served: Served, tmp_path: Path) -> None:
    into = tmp_path / "in"
    into.mkdir()
    command = [
        str(DCMTK / "storescp"),
        "+B",
        "+xa",
        "+uf",
        "-od",
        str(into),
        str(served.store_port),
    ]
    child = ChildProcess("storescp", command, tmp_path / "log")
    child.start()
    try:
        child.wait_ready(lambda: accepts(served.store_port), 20)
        for study in sorted({one.study for one in served.samples}):
            keys = ("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
            done = served.dcmtk("movescu", *keys, more=("-S", "-aem", "STORE"))
            assert done.returncode == 0, done.stderr
    finally:
        child.stop(5)
    came = {}
    for path in into.iterdir():
        meta = read_meta(path.read_bytes()[:4096])
        assert meta
        came[meta.sop_uid] = (meta.transfer_syntax, dataset_bytes(path))
    assert came.keys() == {one.sop_uid for one in served.samples}
    for one in served.samples:
        assert came[one.sop_uid] == (one.syntax, even(one)), one.path.name


@needs_dcmtk
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_getscu_at_each_level(served: Served, level: str, tmp_path: Path) -> None:
    plain = [one for one in served.samples if one.syntax == "1.2.840.10008.1.2.1"]
    one = max(plain, key=lambda sample: [other.study for other in plain].count(sample.study))
    head = dcmread(one.path, stop_before_pixels=True)
    keys = [f"QueryRetrieveLevel={level}", f"StudyInstanceUID={one.study}"]
    expected = [other for other in served.samples if other.study == one.study]
    if level != "STUDY":
        keys.append(f"SeriesInstanceUID={head.SeriesInstanceUID}")
        expected = [
            other
            for other in expected
            if dcmread(other.path, stop_before_pixels=True).SeriesInstanceUID
            == head.SeriesInstanceUID
        ]
    if level == "IMAGE":
        keys.append(f"SOPInstanceUID={one.sop_uid}")
        expected = [one]
    done = served.dcmtk("getscu", *keys, more=("-S", "+B", "-od", str(tmp_path)))
    assert done.returncode == 0, done.stderr
    came = {}
    for path in tmp_path.iterdir():
        meta = read_meta(path.read_bytes()[:4096])
        assert meta
        came[meta.sop_uid] = path
    assert came.keys() == {other.sop_uid for other in expected}
    assert dataset_bytes(came[one.sop_uid]) == one.dataset


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
def test_what_the_peer_does_not_take_comes_without_compression(
    served: Served, syntax: str, tmp_path: Path
) -> None:
    one = next(
        sample
        for sample in served.samples
        if sample.syntax == "1.2.840.10008.1.2.4.90" and sample.sop_class == CTImageStorage
    )
    came: list[Dataset] = []
    entity = AE(ae_title="EVA")
    entity.add_requested_context(GET)
    entity.add_requested_context(CTImageStorage, syntax)

    def store(event: evt.Event) -> int:
        data = event.dataset
        data.file_meta = event.file_meta
        came.append(data)
        return 0

    assoc = entity.associate(
        "127.0.0.1",
        served.node.port,
        ae_title="PACSGRID",
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, store)],
    )
    work_around_races(assoc)
    wanted = query("IMAGE", StudyInstanceUID=one.study, SOPInstanceUID=one.sop_uid)
    wanted.SeriesInstanceUID = dcmread(one.path, stop_before_pixels=True).SeriesInstanceUID
    assert [status.Status for status, _ in assoc.send_c_get(wanted, GET)][-1] == 0
    assoc.release()
    (data,) = came
    assert data.file_meta.TransferSyntaxUID == UID(syntax)
    assert (data.pixel_array == dcmread(one.path).pixel_array).all()


def test_counts_warnings_and_failures(zones: ServedZones) -> None:
    paths = [ct(zones.dir / f"in{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(5)]
    zones.add(paths)
    share(zones.home, PROJECT, [EVA])
    with node_of(zones) as gateway, Node(gateway) as node:
        gateway.refresh()
        wanted = query("STUDY", StudyInstanceUID="1.2.1")

        def told(status: Dataset) -> tuple[int, ...]:
            names = ("Remaining", "Completed", "Failed", "Warning")
            return tuple(status.get(f"NumberOf{name}Suboperations", -1) for name in names)

        answers = get(node.port, wanted)
        assert [code for code, _ in answers] == [0xFF00] * 4 + [0]
        assert [told(one) for _, one in answers] == [
            (4, 1, 0, 0),
            (3, 2, 0, 0),
            (2, 3, 0, 0),
            (1, 4, 0, 0),
            (-1, 5, 0, 0),
        ]
        code, last = get(node.port, wanted, status=0xB006)[-1]
        assert (code, told(last)) == (0xB000, (-1, 0, 0, 5))
        code, last = get(node.port, wanted, status=0xA700)[-1]
        assert (code, told(last)) == (0xA702, (-1, 0, 5, 0))
        # One that no replica has any more fails alone; its UID is told.
        lost = gateway.instances(EVA, "1.2.1")[2]
        for path in zones.vault_files("brno", lost.sop):
            path.write_bytes(b"")
        assoc = get_association(node.port)
        (*_, (status, data)) = assoc.send_c_get(wanted, GET)
        assoc.release()
        assert (status.Status, told(status)) == (0xB000, (-1, 4, 1, 0))
        assert data.FailedSOPInstanceUIDList == lost.sop
        # A peer that takes no CT images in any syntax that they can be given in.
        code, last = get(node.port, wanted, syntax="1.2.840.10008.1.2.4.70")[-1]
        assert (code, told(last)) == (0xA702, (-1, 0, 5, 0))
        # The unique key of the level must be there.
        for odd in (query("STUDY"), query("STUDY", StudyInstanceUID="*"), query("SERIES")):
            assert get(node.port, odd)[-1][0] == 0xA900


def test_a_get_can_be_cancelled(zones: ServedZones) -> None:
    zones.add([ct(zones.dir / f"in{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(20)])
    share(zones.home, PROJECT, [EVA])
    with node_of(zones) as gateway, Node(gateway) as node:
        gateway.refresh()
        assoc = get_association(node.port)
        codes = []
        for status, _ in assoc.send_c_get(query("STUDY", StudyInstanceUID="1.2.1"), GET, msg_id=7):
            codes.append(status.Status)
            if len(codes) == 3:
                assoc.send_c_cancel(7, query_model=GET)
        assert codes[-1] == 0xFE00 and len(codes) < 20
        assert status.NumberOfRemainingSuboperations + status.NumberOfCompletedSuboperations == 20
        # The association serves on.
        (*_, (status, _)) = assoc.send_c_get(query("STUDY", StudyInstanceUID="1.2.1"), GET)
        assert status.Status == 0
        assoc.release()


def test_move_to_the_receiver(zones: ServedZones, tmp_path: Path) -> None:
    """The storage SCP of another site accepts what the gateway sends."""
    zones.add([ct(zones.dir / f"in{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(3)])
    share(zones.home, PROJECT, [EVA])
    allow = [{"ae_title": "GATEWAY"}]
    with RunningReceiver(tmp_path / "r", allow=allow) as receiver:
        destinations = [
            {"ae_title": "PACSGRID", "host": "127.0.0.1", "port": receiver.port},
            {"ae_title": "NOBODY", "host": "127.0.0.1", "port": reserve_port()},
        ]
        site = node_of(zones, destinations=destinations, ae_title="GATEWAY")
        with site as gateway, Node(gateway) as node:
            gateway.refresh()
            entity = AE(ae_title="EVA")
            entity.add_requested_context(MOVE)
            assoc = entity.associate("127.0.0.1", node.port, ae_title="GATEWAY")
            work_around_races(assoc)
            wanted = query("STUDY", StudyInstanceUID="1.2.1")
            codes = {}
            for to in ("PACSGRID", "NOBODY", "UNKNOWN"):
                codes[to] = [status.Status for status, _ in assoc.send_c_move(wanted, to, MOVE)]
            assoc.release()
        assert codes == {
            "PACSGRID": [0xFF00, 0xFF00, 0],
            "NOBODY": [0xA702],
            "UNKNOWN": [0xA801],
        }
        wait_until(lambda: len(receiver.files()) == 3)


def test_a_destination_that_breaks_off_gets_the_rest_over_another_association(
    zones: ServedZones,
) -> None:
    zones.add([ct(zones.dir / f"in{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(5)])
    share(zones.home, PROJECT, [EVA])
    came: list[str] = []
    broken: list[str] = []

    def store(event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if len(came) == 2 and not broken:
            broken.append(uid)
            event.assoc.abort()
            return 0
        came.append(uid)
        return 0

    entity = AE(ae_title="FRAGILE")
    entity.add_supported_context(CTImageStorage)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    port = server.socket.getsockname()[1]
    destinations = [{"ae_title": "FRAGILE", "host": "127.0.0.1", "port": port}]
    try:
        with node_of(zones, destinations=destinations) as gateway, Node(gateway) as node:
            gateway.refresh()
            asking = AE(ae_title="EVA")
            asking.add_requested_context(MOVE)
            assoc = asking.associate("127.0.0.1", node.port, ae_title="PACSGRID")
            work_around_races(assoc)
            wanted = query("STUDY", StudyInstanceUID="1.2.1")
            (*_, (status, _)) = assoc.send_c_move(wanted, "FRAGILE", MOVE)
            assoc.release()
    finally:
        server.shutdown()
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 5)
    assert broken and sorted(came) == [f"1.2.1.1.{n}" for n in range(5)]


def test_another_replica_when_one_is_bad(zones: ServedZones) -> None:
    zones.add([ct(zones.dir / f"in{n}.dcm", "1.2.1", f"1.2.1.1.{n}", fill=n) for n in range(4)])
    share(zones.home, PROJECT, [EVA])
    with node_of(zones) as gateway, Node(gateway) as node:
        gateway.refresh()
        for one in gateway.instances(EVA, "1.2.1"):
            zones.vault_files("brno", one.sop)[0].write_bytes(b"rotten")
        code, last = get(node.port, query("STUDY", StudyInstanceUID="1.2.1"))[-1]
        assert (code, last.NumberOfCompletedSuboperations) == (0, 4)


# -- peers that do not keep to the protocol -----------------------------------------------


def test_too_many_are_asked_to_come_later(zones: ServedZones) -> None:
    with node_of(zones, max_associations=2) as gateway, Node(gateway) as node:
        entity = AE(ae_title="EVA")
        entity.add_requested_context("1.2.840.10008.1.1")
        first = entity.associate("127.0.0.1", node.port, ae_title="PACSGRID")
        second = entity.associate("127.0.0.1", node.port, ae_title="PACSGRID")
        third = entity.associate("127.0.0.1", node.port, ae_title="PACSGRID")
        work_around_races(third)
        assert first.is_established and second.is_established and third.is_rejected
        assert third.acceptor.primitive.result == 2
        first.release()
        second.release()


def test_nonsense_ends_in_an_abort(served: Served) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">BxI", 1, 1 << 30), bytes(100)):
        with socket.create_connection(("127.0.0.1", served.node.port)) as raw:
            raw.sendall(sent)
            raw.settimeout(30)
            assert raw.recv(100)[0] == 7
    assert re.match("0", str(ask(served.node.port, FIND, query("STUDY"))[-1][0]))
