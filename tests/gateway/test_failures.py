"""When a replica is bad or a zone stops, the answer has the right bytes or is cut off."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import requests
from pydicom import dcmread

from pacsgrid.gateway import Gateway, file_cache, metadata, object_reader
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.gateway.web import retrieve
from pacsgrid.grid.sharing import share
from support.dicom import ct
from support.seeded import seeded_bytes
from support.served_zones import PROJECT, Client, Listening, ServedZones

AS_STORED = "application/dicom; transfer-syntax=*"
FRAMES = "application/octet-stream; transfer-syntax=*"
COUNT, EDGE = 24, 256


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat instances from 1 MiB as large, and read them in pieces of 64 KiB."""
    for module in (object_reader, metadata, retrieve):
        monkeypatch.setattr(module, "SMALL", 1 << 20)
    monkeypatch.setattr(object_reader, "CHUNK", 64 << 10)


def many_frames(path: Path) -> Path:
    ct(path, "1.2.1", "1.2.1.1.1")
    ds = dcmread(path)
    ds.NumberOfFrames, ds.Rows, ds.Columns = COUNT, EDGE, EDGE
    ds.PixelData = seeded_bytes(COUNT * EDGE * EDGE * 2)
    ds.save_as(path)
    return path


def test_a_large_instance_comes_whole_or_is_cut_off(served: ServedZones) -> None:
    path = many_frames(served.dir / "in.dcm")
    wanted = path.read_bytes()
    served.add([path], zones=["brno", "praha"])
    for zone in served.zones.values():
        share(zone, PROJECT, ["eva#brno"])
    with Gateway(served.site()) as gateway, Listening(application(gateway)) as server:
        gateway.refresh()
        client = Client(server.url + PREFIX)
        resource = "/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1"
        assert client.ask(resource, AS_STORED).content == wanted
        headers = {"Accept": AS_STORED}
        with client.get(client.root + resource, headers=headers, stream=True) as answer:
            got = [next(pieces := answer.iter_content(1 << 16))]
            served.stop("brno")
            got += pieces
        assert b"".join(got) == wanted
        served.start("brno")
    first, second = served.vault_files("brno", "1.2.1.1.1")
    (third,) = served.vault_files("praha", "1.2.1.1.1")
    with Gateway(served.site()) as gateway, Listening(application(gateway)) as server:
        client = Client(server.url + PREFIX)
        for bad in (first, second):
            bad.write_bytes(wanted[:-1] + bytes([wanted[-1] ^ 1]))
        for _ in range(2):
            with pytest.raises(requests.exceptions.RequestException):
                client.ask(resource, AS_STORED)
        assert client.ask(resource, AS_STORED).content == wanted
        for bad in (first, second, third):
            bad.unlink()
        assert client.ask(resource, AS_STORED).status_code == 500
        # Frames are read from the verified file, so never from a wrong one.
        assert client.ask(f"{resource}/frames/1", FRAMES).status_code == 500


def test_frames_are_read_from_the_zone_once(
    served: ServedZones, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = many_frames(served.dir / "in.dcm")
    other = ct(served.dir / "other.dcm", "1.2.2", "1.2.2.1.1")
    frames = dcmread(path).PixelData
    served.add([path, other])
    share(served.home, PROJECT, ["eva#brno"])
    opened = []
    stream = object_reader.ObjectReader.stream
    monkeypatch.setattr(
        object_reader.ObjectReader,
        "stream",
        lambda self, one: opened.append(one.sop) or stream(self, one),
    )
    size = EDGE * EDGE * 2
    with Gateway(served.site()) as gateway, Listening(application(gateway)) as server:
        gateway.refresh()
        client = Client(server.url + PREFIX)
        resource = "/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1"
        for number in (1, 7, COUNT):
            got = client.ask(f"{resource}/frames/{number}", FRAMES).content
            assert got == frames[(number - 1) * size : number * size]
        (found,) = client.ask(f"{resource}/metadata").json()
        assert found["00280008"]["Value"] == [COUNT] and "BulkDataURI" in found["7FE00010"]
        assert opened == ["1.2.1.1.1"]
        kept = served.dir / "index" / "index.objects"
        assert [one.name for one in kept.iterdir()] == [
            hashlib.sha256(path.read_bytes()).hexdigest()
        ]
        # A full cache keeps the newest file only, and no file of a withdrawn study.
        small = file_cache.FileCache(kept, gateway.objects, 0)
        (one,) = gateway.instances("eva#brno", "1.2.2")
        with small.open(one) as file:
            assert file.read() == other.read_bytes()
        assert [one.name for one in kept.iterdir()] == [one.sha256]
        study = served.studies[1]
        served.home.session.collections.remove(
            served.collection(study, "brno"), recurse=True, force=True
        )
        gateway.refresh()
        assert list(kept.iterdir()) == []
        assert gateway.index.metadata(hashlib.sha256(path.read_bytes()).hexdigest())
