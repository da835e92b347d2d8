"""WADO-RS: files as they were deposited, frames, metadata and rendered images."""

from __future__ import annotations

import hashlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from gateway.conftest import FILES, Shown
from pacsgrid.pacs.multipart import MultipartReader, boundary_of

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
PLAIN = 'multipart/related; type="application/dicom"'
EXPLICIT = "1.2.840.10008.1.2.1"
FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
DECODED = 'multipart/related; type="application/octet-stream"'
IMAGES = [name for name in FILES if name not in ("reportsi.dcm", "rtplan.dcm")]


@pytest.mark.parametrize("name", FILES)
def test_an_instance_is_what_was_deposited(shown: Shown, name: str) -> None:
    client, path = shown.client(), shown.resource(name)
    wanted = shown.path(name).read_bytes()
    syntax = dcmread(BytesIO(wanted), stop_before_pixels=True).file_meta.TransferSyntaxUID
    ((kind, content),) = client.parts(path, AS_STORED)
    assert content == wanted
    assert kind == f"application/dicom; transfer-syntax={syntax}"
    single = client.ask(path, "application/dicom; transfer-syntax=*")
    assert single.content == wanted and single.headers["Content-Type"] == kind
    ((kind, content),) = client.parts(path, PLAIN)
    assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"
    before, after = dcmread(BytesIO(wanted)), dcmread(BytesIO(content))
    assert after.file_meta.TransferSyntaxUID == EXPLICIT
    assert after.SOPInstanceUID == before.SOPInstanceUID
    if "PixelData" in before:
        assert np.array_equal(pixel_array(before), pixel_array(after))


def test_a_study_and_a_series_come_whole(shown: Shown) -> None:
    client = shown.client()
    wanted = {hashlib.sha256(shown.path(f"ct{n}.dcm").read_bytes()).digest() for n in range(6)}
    got = client.parts("/studies/1.2.840.77", AS_STORED)
    assert {hashlib.sha256(content).digest() for _, content in got} == wanted and len(got) == 6
    assert len(client.parts("/studies/1.2.840.77/series/1.2.840.77.2")) == 2
    assert client.ask("/studies/1.2.840.77", "application/dicom").status_code == 406
    assert client.ask("/studies/1.2.840.77", "image/gif").status_code == 406
    jp2 = PLAIN + "; transfer-syntax=1.2.840.10008.1.2.4.90"
    assert client.ask("/studies/1.2.840.77", jp2).status_code == 406
    assert client.ask("/studies/1.2.840.77/instances/../x").status_code == 404
    assert client.ask("/studies/not-a-uid").status_code == 400
    assert shown.client("jan").ask("/studies/1.2.840.77").status_code == 200


@pytest.mark.parametrize("name", FILES)
def test_metadata_is_the_dataset(shown: Shown, name: str) -> None:
    client, path = shown.client(), shown.resource(name)
    (found,) = client.ask(f"{path}/metadata").json()
    assert client.ask(f"{path}/metadata", "application/dicom+json").json() == [found]
    original = dcmread(shown.path(name))
    pixels = found.pop("7FE00010", None)
    assert (pixels is not None) == ("PixelData" in original)
    read = Dataset.from_json({tag: v for tag, v in found.items() if "BulkDataURI" not in v})
    compared = 0
    for element in original:
        tag = f"{element.tag:08X}"
        if tag in found and tag != "00080005" and "BulkDataURI" not in found[tag]:
            if element.VR not in ("SQ", "UN"):
                assert read[element.tag].value == element.value, element.keyword
            compared += 1
    assert compared > 15
    left_out = {f"{e.tag:08X}" for e in original if not e.tag.is_private} - found.keys()
    padding = {"FFFCFFFC"}
    assert left_out <= {"7FE00010"} | padding | {t for t in left_out if t.endswith("0000")}
    theirs = shown.reference.ask(f"{path}/metadata").json()[0]
    assert theirs.keys() - found.keys() - left_out <= {"7FE00010"}
    if pixels:
        uri = pixels["BulkDataURI"]
        assert uri.startswith(f"{shown.root}{path}/bulkdata/")
        parts = client.parts(uri.removeprefix(shown.root))
        encapsulated = original.file_meta.TransferSyntaxUID.is_encapsulated
        assert len(parts) == (int(original.get("NumberOfFrames") or 1) if encapsulated else 1)
        if not encapsulated:
            assert parts[0][1] == original.PixelData


@pytest.mark.parametrize("name", IMAGES)
def test_frames_are_given_as_stored_and_decoded(shown: Shown, name: str) -> None:
    client, path = shown.client(), shown.resource(name)
    original = dcmread(shown.path(name))
    count = int(original.get("NumberOfFrames") or 1)
    numbers = sorted({1, count})
    listed = ",".join(str(n) for n in numbers)
    syntax = original.file_meta.TransferSyntaxUID
    stored = client.parts(f"{path}/frames/{listed}", FRAMES)
    assert len(stored) == len(numbers)
    for kind, _ in stored:
        expected = syntax if syntax.is_encapsulated else EXPLICIT
        assert kind.endswith(f"; transfer-syntax={expected}")
    array = pixel_array(original)
    for number, (kind, content) in zip(
        numbers, client.parts(f"{path}/frames/{listed}", DECODED), strict=True
    ):
        assert kind == f"application/octet-stream; transfer-syntax={EXPLICIT}"
        frame = array[number - 1] if count > 1 else array
        frame = frame.astype(frame.dtype.newbyteorder("<"))
        if original.BitsAllocated == 1:
            frame = np.packbits(frame.reshape(-1), bitorder="little")
        assert content[: frame.nbytes] == frame.tobytes()
    single = client.ask(f"{path}/frames/1", "application/octet-stream; transfer-syntax=*")
    assert single.content == stored[0][1] or syntax.is_encapsulated
    assert client.ask(f"{path}/frames/{count + 1}", FRAMES).status_code == 404
    assert client.ask(f"{path}/frames/0", FRAMES).status_code == 400


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "CT_small.dcm", "SC_rgb_rle_2frame.dcm"])
def test_frames_are_those_of_orthanc(shown: Shown, name: str) -> None:
    path = f"{shown.resource(name)}/frames/1"
    ((_, ours),) = shown.client().parts(path, FRAMES)
    answer = shown.reference.ask(path, FRAMES)
    reader = MultipartReader([answer.content], boundary_of(answer.headers["Content-Type"]))
    (theirs,) = (b"".join(content) for _, content in reader.parts())
    assert ours.rstrip(b"\0") == theirs.rstrip(b"\0")


@pytest.mark.parametrize("name", IMAGES)
def test_pictures_are_drawn(shown: Shown, name: str) -> None:
    client, path = shown.client(), shown.resource(name)
    original = dcmread(shown.path(name), stop_before_pixels=True)
    drawn = {}
    for kind in ("image/png", "image/jpeg"):
        answer = client.ask(f"{path}/rendered", kind)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == kind
        drawn[kind] = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert drawn[kind].shape[:2] == (original.Rows, original.Columns)
    if name != "liver_1frame.dcm":
        assert drawn["image/png"].std() > 1
    small = client.ask(f"{path}/thumbnail", "image/png").content
    assert max(cv2.imdecode(np.frombuffer(small, np.uint8), 1).shape[:2]) == 256


def test_a_picture_is_drawn_with_the_requested_options(shown: Shown) -> None:
    client, path = shown.client(), shown.resource("CT_small.dcm")

    def picture(**params: str) -> np.ndarray:
        answer = client.ask(f"{path}/frames/1/rendered", "image/png", **params)
        assert answer.status_code == 200, answer.text
        return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)

    ds = dcmread(shown.path("CT_small.dcm"))
    values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    for centre, width in ((40.0, 400.0), (-600.0, 1500.0)):
        got = picture(window=f"{centre:g},{width:g},linear").astype(float)
        ideal = np.clip(((values - (centre - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
        assert np.abs(got - ideal).max() <= 1.5
    assert picture(viewport="64,64").shape == (64, 64)
    for wrong in ({"window": "40"}, {"viewport": "0,9"}, {"quality": "101"}):
        assert client.ask(f"{path}/rendered", "image/jpeg", **wrong).status_code == 400
    assert client.ask(f"{path}/rendered", "image/gif").status_code == 406
    assert client.ask(f"{shown.resource('rtplan.dcm')}/rendered", "image/png").status_code == 406


def test_pictures_of_a_whole_study_and_of_all_frames_come_in_parts(shown: Shown) -> None:
    client, png = shown.client(), 'multipart/related; type="image/png"'
    for path, count in (("/studies/1.2.840.77", 6), ("/studies/1.2.840.77/series/1.2.840.77.2", 2)):
        parts = client.parts(f"{path}/rendered", png)
        assert [kind for kind, _ in parts] == ["image/png"] * count
    two = shown.resource("SC_rgb_rle_2frame.dcm")
    both = client.parts(f"{two}/rendered", png)
    assert client.parts(f"{two}/frames/2,1/rendered", png) == both[::-1]
    assert client.ask(f"{two}/frames/2/rendered", "image/png").content == both[1][1]
    assert client.ask(f"{two}/frames/1,2/rendered", "image/png").status_code == 400
    assert client.ask(f"{two}/frames/3/rendered", png).status_code == 404
    assert client.ask(f"{shown.resource('rtplan.dcm')}/rendered", png).status_code == 406


def test_dicomweb_client_retrieves(shown: Shown) -> None:
    client = DICOMwebClient(shown.root, headers={"Authorization": "Bearer evaeva"})
    study = client.retrieve_study("1.2.840.77")
    assert sorted(int(one.InstanceNumber) for one in study) == list(range(6))
    assert len(client.retrieve_series("1.2.840.77", "1.2.840.77.1")) == 4
    uids = ("1.2.840.77", "1.2.840.77.1", "1.2.840.77.9.3")
    assert client.retrieve_instance(*uids) == dcmread(shown.path("ct3.dcm"))
    assert len(client.retrieve_series_metadata(*uids[:2])) == 4
    (frame,) = client.retrieve_instance_frames(*uids, frame_numbers=[1])
    assert frame == dcmread(shown.path("ct3.dcm")).PixelData
    assert client.retrieve_instance_rendered(*uids, media_types=("image/png",)).startswith(
        b"\x89PNG"
    )
