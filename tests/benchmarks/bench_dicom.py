"""Instances of 512 KiB per second: receiving, C-GET, WADO-RS, gateway, beside others' programs.

All in one run on one machine, each figure the best of three; DCMTK's programs by full path, since
pynetdicom installs commands of the same names.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import requests
from irods.session import iRODSSession
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

sys.path.insert(0, str(Path(__file__).parents[1]))
from pacsgrid.dimse.command_set import (
    AFFECTED_SOP_CLASS,
    AFFECTED_SOP_INSTANCE,
    C_STORE,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
    STATUS,
)
from pacsgrid.dimse.message_channel import MessageChannel
from pacsgrid.dimse.pdu import ProposedContext, encode_request
from pacsgrid.dimse.stream import Stream
from pacsgrid.embedded.pacs import EmbeddedPacs
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.grid.sharing import share
from pacsgrid.model import FoundStudy
from pacsgrid.pacs import open_source
from pacsgrid.pacs.storage_scp.association import StorageAssociation
from pacsgrid.pacs.storage_scp.incoming import Incoming
from support.dicom import ct
from support.pydicom_files import dataset_bytes
from support.receiver_process import RunningReceiver
from support.served_zones import PROJECT, ServedZones
from support.waiting import wait_until

COUNT = int(os.environ.get("INSTANCES", "600"))
STUDY = "1.2.9"
BIN = Path("/usr/bin")


def make(directory: Path) -> list[Path]:
    """Write the study in four directories, for up to four senders."""
    path = ct(directory / "first.dcm", STUDY, f"{STUDY}.1.0")
    data = dcmread(path)
    path.unlink()
    data.Rows = data.Columns = 512
    pixels = np.random.default_rng(1).integers(0, 4096, (512, 512), np.uint16)
    parts = [directory / str(n) for n in range(4)]
    for part in parts:
        part.mkdir()
    for n in range(COUNT):
        data.PixelData = (pixels + n).tobytes()
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.1.{n}"
        data.save_as(parts[n % 4] / f"{n}.dcm")
    return parts


def rate(work: Callable[[], object], clean: Callable[[], object]) -> float:
    """Give the best of three in instances per second."""
    best = 0.0
    for _ in range(3):
        clean()
        start = time.perf_counter()
        work()
        best = max(best, COUNT / (time.perf_counter() - start))
    return best


def busy(work: Callable[[], object]) -> float:
    """Give the share of all cores' time that was used meanwhile, senders and disk included."""

    def times() -> tuple[int, int]:
        told = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return sum(told[:8]), told[3] + told[4]

    before = times()
    work()
    after = times()
    return 1 - (after[1] - before[1]) / max(1, after[0] - before[0])


def send(port: int, parts: list[Path], senders: int) -> None:
    """Send the study with DCMTK's storescu from so many processes."""
    per = 4 // senders
    command = [str(BIN / "storescu"), "+sd", "-aet", "MODALITY", "-aec", "PACSGRID", "127.0.0.1"]
    running = [
        subprocess.Popen([*command, str(port), *map(str, parts[n * per : (n + 1) * per])])
        for n in range(senders)
    ]
    assert not any(one.wait() for one in running)


def empty(directory: Path) -> None:
    """Remove what was received, the room for temporary names excepted."""
    for one in directory.glob("[!.]*"):
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def pynetdicom_server(into: Path) -> tuple[int, Callable[[], None]]:
    """Receive as pynetdicom's users do: decode each dataset and save it."""

    def store(event: evt.Event) -> int:
        data = event.dataset
        data.file_meta = event.file_meta
        data.save_as(into / f"{data.SOPInstanceUID}.dcm")
        return 0

    entity = AE(ae_title="PACSGRID")
    entity.add_supported_context(CTImageStorage)
    entity.maximum_pdu_size = 131072
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    return server.socket.getsockname()[1], server.shutdown


def receiving(work: Path, parts: list[Path]) -> None:
    """Print the rates of receiving."""
    into = work / "theirs"
    into.mkdir()
    port = reserve_port()
    command = [str(BIN / "storescp"), "--bit-preserving", "--max-pdu", "131072"]
    env = {**os.environ, "TCP_NODELAY": "1"}
    child = ChildProcess("storescp", [*command, "-od", str(into), str(port)], work / "log", env)
    child.start()
    child.wait_ready(lambda: accepts(port), 10)
    dcmtk = rate(lambda: send(port, parts, 1), lambda: empty(into))
    child.stop(3)
    port, stop = pynetdicom_server(into)
    plain = rate(lambda: send(port, parts, 1), lambda: empty(into))
    stop()
    with RunningReceiver(work / "receiver", quiet_seconds=3600.0) as ours:
        one = rate(lambda: send(ours.port, parts, 1), lambda: empty(ours.folder))
        four = rate(lambda: send(ours.port, parts, 4), lambda: empty(ours.folder))
        shares = []
        for senders in (1, 4):
            empty(ours.folder)
            shares.append(busy(lambda n=senders: send(ours.port, parts, n)))
    print(f"receive  storescp {dcmtk:5.0f}/s  pynetdicom {plain:5.0f}/s  ours {one:5.0f}/s")
    print(f"         ours, four associations {four:5.0f}/s; ", end="")
    print(f"{os.cpu_count()} cores {shares[0]:.0%} busy with one, {shares[1]:.0%} with four")
    print(
        f"         to storescp {one / dcmtk:.2f} (0.9), to pynetdicom {one / plain:.2f} (1.8), ",
        end="",
    )
    print(f"four to one {four / one:.2f} (1.6)")


def get_raw(port: int, into: Path, called: str = "ORTHANC") -> None:
    """C-GET with pynetdicom alone, writing datasets as they come."""
    into.mkdir()
    lock = threading.Lock()
    count = [0]

    def store(event: evt.Event) -> int:
        with lock:
            count[0] += 1
        (into / str(count[0])).write_bytes(event.encoded_dataset())
        return 0

    entity = AE(ae_title="PACSGRID")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    assoc = entity.associate(
        "127.0.0.1",
        port,
        ae_title=called,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, store)],
    )
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", STUDY
    for _ in assoc.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
        pass
    assoc.release()
    assert count[0] == COUNT


def read_only(pacs: EmbeddedPacs) -> None:
    """Take the series' bytes by WADO-RS and do nothing with them."""
    url = f"http://127.0.0.1:{pacs.http_port}/dicom-web/studies/{STUDY}/series/{STUDY}.1"
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    with requests.get(url, headers=accept, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        assert sum(map(len, answer.raw.stream(1 << 18))) > COUNT << 19


def retrieving(work: Path, parts: list[Path]) -> None:
    """Print the rates of C-GET and WADO-RS from Orthanc."""
    into = work / "in"

    def ours(way: str) -> None:
        settings = pacs.settings().replace(retrieve=way)
        assert len(open_source(settings).retrieve(FoundStudy(STUDY, ""), into)) == COUNT

    def clean() -> None:
        shutil.rmtree(into, ignore_errors=True)

    with EmbeddedPacs(work / "pacs", engine="orthanc") as pacs:
        for part in parts:
            for path in part.iterdir():
                url = f"http://127.0.0.1:{pacs.http_port}/instances"
                requests.post(url, data=path.read_bytes(), timeout=60).raise_for_status()
        raw = rate(lambda: get_raw(pacs.dicom_port, into), clean)
        get = rate(lambda: ours("get"), clean)
        web = rate(lambda: ours("web"), clean)
        alone = rate(lambda: read_only(pacs), clean)
    print(f"C-GET    pynetdicom raw {raw:5.0f}/s  ours {get:5.0f}/s  to it {get / raw:.2f} (1.0)")
    print(f"WADO-RS  ours {web:5.0f}/s (1000), its bytes alone {alone:5.0f}/s")


def read_by_irods(port: int, paths: list[str], told: Connection) -> None:
    """Read the objects one after the other with python-irodsclient; tells the best of three."""
    with iRODSSession(
        host="127.0.0.1", port=port, user="rods", password="x", zone="brno"
    ) as session:

        def loop() -> None:
            for path in paths:
                with session.data_objects.open(path, "r", allow_redirect=False) as source:
                    assert len(source.read()) > 1 << 19

        loop()  # what is read first warms the zone for both
        told.send(rate(loop, lambda: None))


def gateway(work: Path, parts: list[Path]) -> None:
    """Print the rate of C-GET from the gateway beside reading the same objects from the zone.

    Zone, gateway and readers are processes of their own, or the zone would wait for the reader.
    """
    port = reserve_port()
    with ServedZones(work / "zones") as zones:
        (one,) = zones.add([path for part in parts for path in part.iterdir()])
        share(zones.home, PROJECT, ["eva#brno"])
        zones.site(
            bind="127.0.0.1",
            dicom_port=port,
            http_port=reserve_port(),
            peers=[{"ae_title": "PACSGRID", "user": "eva#brno"}],
            access_seconds=600.0,
        )
        series = f"{zones.collection(one, 'brno')}/{STUDY}.1"
        objects = [f"{series}/{row.sop_uid}.dcm" for row in one.rows]
        ours, theirs = Pipe()
        reader = get_context("spawn").Process(
            target=read_by_irods, args=(zones.ports["brno"], objects, theirs)
        )
        reader.start()
        plain = ours.recv()
        reader.join()
        env = {**os.environ, "PACSGRID_SITE": str(work / "zones" / "site.yaml")}
        env["PYTHONPATH"] = os.pathsep.join(sys.path)
        log = work / "gateway.log"
        child = ChildProcess("gateway", [sys.executable, "-m", "pacsgrid", "gateway"], log, env)
        child.start()
        child.wait_ready(lambda: accepts(port), 300)
        into = work / "out"

        def clean() -> None:
            shutil.rmtree(into, ignore_errors=True)

        def get() -> None:
            get_raw(port, into, "PACSGRID")

        def getscu() -> None:
            into.mkdir()
            command = [str(BIN / "getscu"), "-S", "-B", "-aet", "PACSGRID", "-aec", "PACSGRID"]
            command += ["-od", str(into), "-k", "0008,0052=STUDY", "-k", f"0020,000D={STUDY}"]
            env = {**os.environ, "TCP_NODELAY": "1"}
            subprocess.run([*command, "127.0.0.1", str(port)], check=True, env=env)
            assert len(list(into.iterdir())) == COUNT

        wait_until(lambda: "study copies changed" in log.read_text(), 600, every=0.2)
        by_pynetdicom, by_dcmtk = rate(get, clean), rate(getscu, clean)
        child.stop(10)
    best = max(by_pynetdicom, by_dcmtk)
    print(f"gateway  C-GET by pynetdicom {by_pynetdicom:5.0f}/s  by getscu {by_dcmtk:5.0f}/s")
    print(f"         the same objects by python-irodsclient {plain:5.0f}/s, ", end="")
    print(f"to it {best / plain:.2f} (0.5)")


def memory(work: Path, parts: list[Path]) -> None:
    """Print how the memory of one association's process grows from 1,000 to 10,000 instances."""
    path = ct(work / "small.dcm", STUDY, f"{STUDY}.1.99999")
    content = dataset_bytes(path)

    def resident(pid: int) -> int:
        told = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1]
        return int(told.split()[0])

    folder = work / "many"
    peer, ours = socket.socketpair()
    pid = os.fork()  # as the receiver does for each association
    if pid == 0:
        peer.close()
        incoming = Incoming(folder, 0)
        StorageAssociation(Stream(ours, 600.0), incoming, lambda request: None, 131072).serve()
        os._exit(0)
    ours.close()
    stream = Stream(peer, 600.0)
    contexts = (ProposedContext(1, str(CTImageStorage), ("1.2.840.10008.1.2.1",)),)
    stream.send(encode_request("PACSGRID", "MODALITY", contexts, 131072))
    stream.read_exactly(struct.unpack(">BxI", stream.read_exactly(6))[1])
    channel = MessageChannel(stream, [1], 131072, 131072)
    sizes = []
    for number in range(10_000):
        uid = f"{STUDY}.1.{number:05}"
        command = {
            AFFECTED_SOP_CLASS: str(CTImageStorage),
            COMMAND_FIELD: C_STORE,
            MESSAGE_ID: number,
            PRIORITY: 0,
        }
        data = content.replace(f"{STUDY}.1.99999".encode(), uid.encode())
        channel.send(1, {**command, AFFECTED_SOP_INSTANCE: uid}, (data,))
        assert channel.receive().number(STATUS) == 0
        if number in (999, 9_999):
            sizes.append(resident(pid))
    channel.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert len(list(folder.glob("[!.]*/*.dcm"))) == 10_000
    print(f"memory   {sizes[0] / 1024:.1f} MiB after 1,000 instances, ", end="")
    print(f"{sizes[1] / 1024:.1f} MiB after 10,000 (flat)")


def main() -> None:
    """Run everything, or what is named; in brackets what is asked for."""
    given = sys.argv[1:] or None
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        parts = make(work)
        for measure in (receiving, retrieving, gateway, memory):
            if given is None or measure.__name__ in given:
                measure(work, parts)


if __name__ == "__main__":
    main()
