"""Irregular files are read if there is one way to, and otherwise held for the right reason."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacsgrid.deid import load_profile
from pacsgrid.deid.check.reader import MalformedError, read_header
from pacsgrid.deid.regularise import regularise
from pacsgrid.errors import HeldError
from support.deid_file import checked
from support.dicom import ct


def encoded(path: Path, implicit: bool, little: bool = True) -> bytes:
    """A slice's data set alone."""
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1", fill=7))
    ds["PixelData"].VR = "OW"
    ds.PixelData = struct.pack("<H" if little else ">H", 7) * 1024
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = implicit, little
    bare = Dataset(ds)
    if implicit:
        bare.set_original_encoding(True, little, "utf8")
    write_dataset(out, bare)
    return bytes(out.getvalue())


def with_meta(data: bytes, syntax: str) -> bytes:
    text = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(text)) + text
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return bytes(128) + b"DICM" + length + meta + data


def before_pixels(data: bytes, more: bytes) -> bytes:
    at = data.rindex(b"\xe0\x7f\x10\x00")
    return data[:at] + more + data[at:]


def item(body: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + body + b"\xfe\xff\x0d\xe0\0\0\0\0"


END = b"\xfe\xff\xdd\xe0\0\0\0\0"
WHO = b"\x10\x00\x10\x00PN\x0a\x00Novakova^Z"
WHO_IMPLICIT = b"\x10\x00\x10\x00\x0a\x00\x00\x00Novakova^Z"
CREATOR = b"\x29\x00\x10\x00LO\x06\x00ACME 1"
CREATOR_IMPLICIT = b"\x29\x00\x10\x00\x06\x00\x00\x00ACME 1"

READ: dict[str, Callable[[Path], bytes]] = {
    "explicit without preamble": lambda p: encoded(p, False),
    "implicit without preamble": lambda p: encoded(p, True),
    "file meta without preamble": lambda p: with_meta(encoded(p, False), ExplicitVRLittleEndian)[
        132:
    ],
    "implicit though it says explicit": lambda p: with_meta(
        encoded(p, True), ExplicitVRLittleEndian
    ),
    "explicit though it says implicit": lambda p: with_meta(
        encoded(p, False), ImplicitVRLittleEndian
    ),
    "big endian though it says little": lambda p: with_meta(
        encoded(p, False, False), ExplicitVRLittleEndian
    ),
    "explicit items in UN": lambda p: with_meta(
        before_pixels(
            encoded(p, False),
            CREATOR + b"\x29\x00\x01\x10UN\0\0\xff\xff\xff\xff" + item(WHO) + END,
        ),
        ExplicitVRLittleEndian,
    ),
    "explicit items in implicit": lambda p: with_meta(
        before_pixels(
            encoded(p, True),
            CREATOR_IMPLICIT + b"\x29\x00\x01\x10\xff\xff\xff\xff" + item(WHO) + END,
        ),
        ImplicitVRLittleEndian,
    ),
    "implicit items in UN": lambda p: with_meta(  # as PS3.5 6.2.2 asks
        before_pixels(
            encoded(p, False),
            CREATOR + b"\x29\x00\x01\x10UN\0\0\xff\xff\xff\xff" + item(WHO_IMPLICIT) + END,
        ),
        ExplicitVRLittleEndian,
    ),
}


@pytest.mark.parametrize("how", READ)
@pytest.mark.parametrize("profile", ["basic", "research"])
def test_it_is_read_where_there_is_one_way(tmp_path: Path, how: str, profile: str) -> None:
    path = tmp_path / "source"
    data = READ[how](path)
    path.write_bytes(data)
    made = checked(path, load_profile(profile))
    result = made.path.read_bytes()
    assert result[128:132] == b"DICM" and b"ovakova" not in result
    ds = dcmread(made.path)
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == made.sop_uid
    assert set(ds.pixel_array.ravel().tolist()) == {7}
    plain = checked(ct(tmp_path / "plain", "1.2.3", "1.2.3.1", fill=7), load_profile(profile))
    assert (made.sop_uid, made.subject) == (plain.sop_uid, plain.subject)
    assert ds.keys() == dcmread(plain.path).keys()
    # dciodvfy's and everybody's reading: no VR is lost of what the standard knows.
    kinds = {e.tag: e.VR for e in ds}
    assert all(kinds[e.tag] == e.VR for e in dcmread(plain.path))


def damaged(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(ct(path, "1.2.3", "1.2.3.1").read_bytes()))
    return path


def cut_at(mark: bytes, more: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: data.index(mark) + more]


PIXELS = b"\xe0\x7f\x10\x00"
HELD: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "cut in a value": (cut_at(b"Nov\xc3", 4), "truncated", "again"),
    "cut in an element's head": (cut_at(PIXELS, 5), "truncated", "again"),
    "cut in the pixels": (lambda data: data[:-9], "truncated", "again"),
    "cut in the file meta": (lambda data: data[:150], "truncated", "again"),
    "without pixels": (cut_at(PIXELS, 0), "no-pixels", "(7FE0,0010)"),
    "fewer pixels than rows": (
        lambda data: data.replace(b"\x28\x00\x10\x00US\2\0\x20", b"\x28\x00\x10\x00US\2\0\x40"),
        "pixels-short", "4096",
    ),
    "a length that cannot be": (
        lambda data: data.replace(
            b"\x20\x00\x13\x00IS\2\0", b"\x20\x00\x13\x00UN\0\0\xff\xff\xff\x7f"
        ),
        "malformed", "(0020,0013)",
    ),
    "no item in a sequence": (
        lambda data: before_pixels(data, b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + bytes(8)),
        "malformed", "(0040,0275)",
    ),
    "an item that leaves its sequence": (
        lambda data: before_pixels(
            data, b"\x40\x00\x75\x02SQ\0\0\x10\0\0\0\xfe\xff\x00\xe0\x40\0\0\0" + bytes(8)
            + b"\x41\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + bytes(8)
        ),
        "malformed", "(0040,0275)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", HELD)
def test_it_is_held_for_what_it_is(tmp_path: Path, how: str) -> None:
    change, code, word = HELD[how]
    with pytest.raises(HeldError) as caught:
        checked(damaged(tmp_path / "a", change), load_profile("basic"))
    assert caught.value.code == code and word in caught.value.detail
    assert ("again" in caught.value.detail) == (code == "truncated")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", b"Dear colleague, " * 40, b"\x08\x00\x05\x00", b"PK\3\4" + bytes(99),
     b"\x89PNG\r\n\x1a\n" + bytes(400), bytes(1000), b"\xff" * 1000,
     b"\x08\x00\x05\x00\x02\x00\x00\x00ab" * 30],
)  # fmt: skip
def test_what_is_no_dicom_is_told_so_without_a_word_of_removal(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(HeldError) as caught:
        checked(tmp_path / "a", load_profile("basic"))
    assert caught.value.code == "not-dicom" and "remove" not in caught.value.detail
    with pytest.raises(MalformedError):
        read_header(tmp_path / "a")


def test_a_cut_data_set_without_preamble_is_cut(tmp_path: Path) -> None:
    data = encoded(tmp_path / "a", False)
    (tmp_path / "a").write_bytes(data[: data.index(b"Nov")])
    with pytest.raises(HeldError) as caught:
        checked(tmp_path / "a", load_profile("basic"))
    assert caught.value.code == "truncated"


def test_a_regular_file_stays_as_it_is(tmp_path: Path) -> None:
    path = ct(tmp_path / "a", "1.2.3", "1.2.3.1")
    ds = dcmread(path)
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "1", "one"
    ds.ProcedureCodeSequence = Sequence([code, Dataset()])
    ds.save_as(path)
    with path.open("rb") as stream:
        again = dcmread(BytesIO(regularise(stream).read()))
    again.file_meta = FileMetaDataset()
    ds.file_meta = FileMetaDataset()
    assert list(again) == list(ds)


def test_both_readers_agree_on_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(with_meta(encoded(path, False, False), ExplicitVRBigEndian))
    assert not read_header(path).little and not read_header(path).native
    checked(path, load_profile("basic"))


@pytest.mark.parametrize("profile", ["basic", "research", "strict"])
def test_a_deflated_data_set_without_preamble_is_read(tmp_path: Path, profile: str) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.1", fill=7))
    ds.PixelData += b"Novakova Zofie"
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "a.dcm")
    path = tmp_path / "b.dcm"
    path.write_bytes((tmp_path / "a.dcm").read_bytes()[132:])
    made = checked(path, load_profile(profile))
    assert (dcmread(made.path).pixel_array == 7).all()
    assert b"Novakova" not in made.path.read_bytes()


def test_what_only_says_that_it_is_deflated_is_held(tmp_path: Path) -> None:
    text = str(DeflatedExplicitVRLittleEndian).encode()
    path = tmp_path / "a.dcm"
    path.write_bytes(with_meta(b"no data set at all", text.decode())[132:])
    with pytest.raises(HeldError):
        checked(path, load_profile("basic"))
