"""Retrieve all of pydicom's files from two PACS, by three methods, over a failing network.

By default there are few files and many faults; with PACSGRID_FAULTS=full (`make pacs-faults`) all
files are retrieved and 8 % of the connections fail.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from pacsgrid.config import SourceSettings
from pacsgrid.embedded.pacs import DICOMWEB, ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.errors import PacsgridError
from pacsgrid.model import FoundStudy
from pacsgrid.pacs import open_source
from pacsgrid.pacs.part10 import read_meta
from pacsgrid.pacs.staging import name_for
from support.dcmqrscp import DCMQRSCP, Dcmqrscp
from support.faulty_proxy import DIMSE, HTTP, FaultyProxy
from support.pydicom_files import Sample, dataset_bytes, make_corpus

FULL = os.environ.get("PACSGRID_FAULTS") == "full"
RATE = 0.08 if FULL else 0.25
TRIES = 40
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
MOVESCU, STORESCP = Path("/usr/bin/movescu"), Path("/usr/bin/storescp")

needs_peers = pytest.mark.skipif(
    not all(path.exists() for path in (ORTHANC, DICOMWEB, DCMQRSCP, MOVESCU)),
    reason="no Orthanc with DICOMweb, or no DCMTK",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    samples = make_corpus(tmp_path_factory.mktemp("corpus"))
    if FULL:
        assert len(samples) > 70
        return samples
    few: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        few.setdefault((sample.syntax, sample.sop_class), sample)
    small = [one for one in few.values() if one.path.stat().st_size < 400_000]
    return sorted(small, key=lambda one: one.syntax)[:14]


@dataclass
class Peer:
    """A PACS, its files, and proxies to it that inject faults."""

    settings: SourceSettings
    held: list[Sample]
    back: FaultyProxy
    http_port: int
    reference: dict[str, tuple[str, bytes]]


@pytest.fixture(scope="module", params=["orthanc", "dcmqrscp"])
def peer(
    request: pytest.FixtureRequest, corpus: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    directory = tmp_path_factory.mktemp(request.param)
    move_port = reserve_port()
    with FaultyProxy(move_port, 0.0, ("cut", "refuse", "slow", "abort"), seed=7) as back:
        if request.param == "orthanc":
            with EmbeddedPacs(directory / "pacs", move_port=back.port, engine="orthanc") as pacs:
                url = f"http://127.0.0.1:{pacs.http_port}/instances"
                held = [
                    one
                    for one in corpus
                    if requests.post(url, data=one.path.read_bytes(), timeout=30).ok
                ]
                settings = pacs.settings().replace(move_port=move_port)
                reference = _by_dcmtk(settings, held, directory / "reference")
                yield Peer(settings, held, back, pacs.http_port, reference)
        else:
            # Its C-GET sends what is compressed in no other than the class's first context.
            plain = [one for one in corpus if one.syntax in UNCOMPRESSED]
            with Dcmqrscp(directory / "pacs", plain, back.port) as archive:
                held = archive.load()
                settings = archive.settings().replace(move_port=move_port)
                reference = _by_dcmtk(settings, held, directory / "reference")
                yield Peer(settings, held, back, 0, reference)


def _by_dcmtk(
    settings: SourceSettings, held: list[Sample], into: Path
) -> dict[str, tuple[str, bytes]]:
    """Return what DCMTK's storescp receives from the PACS: transfer syntax and dataset."""
    into.mkdir()
    command = [str(STORESCP), "+B", "+xa", "-od", str(into), str(settings.move_port)]
    child = ChildProcess("storescp", command, into.with_suffix(".log"), dict(os.environ))
    child.start()
    try:
        child.wait_ready(lambda: accepts(settings.move_port), 10)
        for study in sorted({one.study for one in held}):
            command = [str(MOVESCU), "-S", "-aet", "PACSGRID", "-aec", settings.ae_title]
            command += ["-aem", "PACSGRID", "-k", "0008,0052=STUDY", "-k", f"0020,000D={study}"]
            command += ["127.0.0.1", str(settings.port)]
            subprocess.run(command, check=False, capture_output=True, timeout=60)
    finally:
        child.stop(5)
    found = {}
    for path in into.iterdir():
        meta = read_meta(path.read_bytes()[:4096])
        if meta:
            found[meta.sop_uid] = (meta.transfer_syntax, dataset_bytes(path))
    return found


@needs_peers
@pytest.mark.parametrize("way", ["get", "move", "web"])
def test_all_of_it_arrives_and_nothing_twice(peer: Peer, way: str, tmp_path: Path) -> None:
    if way == "web" and not peer.http_port:
        pytest.skip("dcmqrscp speaks no DICOMweb")
    # What a PACS cannot send to DCMTK either, it cannot send: Orthanc finds no context for two.
    sent = [one for one in peer.held if way == "web" or one.sop_uid in peer.reference]
    held_back = {one.study for one in peer.held} - {one.study for one in sent}
    assert len(held_back) <= 2
    studies = sorted({one.study for one in peer.held} - held_back)
    if way == "move" and not FULL:
        studies = studies[:3]  # a hung move takes its time
    held = [one for one in peer.held if one.study in studies]
    assert len(held) >= (65 if FULL else 3)
    target, kinds = (peer.http_port, HTTP) if way == "web" else (peer.settings.port, DIMSE)
    with FaultyProxy(target, RATE, kinds, seed=len(way)) as proxy:
        peer.back.set_rate(RATE if way == "move" else 0.0)
        settings = peer.settings.replace(
            retrieve=way,
            port=proxy.port,
            url=f"http://127.0.0.1:{proxy.port}/dicom-web",
            connect_seconds=2.0,
            answer_seconds=3.0,
            idle_seconds=2.0,
            failures=10**9,
        )
        for study in studies:
            _until_it_is_there(settings, study, tmp_path / study)
        peer.back.set_rate(0.0)
    alike = 0
    for sample in held:
        path = tmp_path / sample.study / name_for(sample.sop_uid)
        meta = read_meta(path.read_bytes()[:4096])
        assert meta and (meta.sop_uid, meta.sop_class) == (sample.sop_uid, sample.sop_class)
        if way == "web":
            assert dataset_bytes(path) == sample.dataset
            alike += 1
        elif peer.reference.get(sample.sop_uid, ("", b""))[0] == meta.transfer_syntax:
            assert dataset_bytes(path) == peer.reference[sample.sop_uid][1]
            alike += 1
    assert alike >= len(held) * 0.5
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == len(held)
    assert sum(proxy.done[kind] for kind in kinds) >= 1, proxy.done


def _until_it_is_there(settings: SourceSettings, study: str, into: Path) -> None:
    """Retry as the scheduler would; also after final errors, since these were injected."""
    for _ in range(TRIES):
        try:
            open_source(settings).retrieve(FoundStudy(study, ""), into)
            return
        except PacsgridError as error:
            last = error
    raise AssertionError(f"not there after {TRIES} tries: {last}")
