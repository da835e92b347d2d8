"""Walk datasets as pydicom reads them, truncated ones, wrong transfer syntaxes, random bytes."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from pacsgrid.dimse.presentation_contexts import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from pacsgrid.pacs import dataset
from pacsgrid.pacs.dataset import (
    MOST_DEPTH,
    STUDY_UID,
    MalformedDatasetError,
    decode_text,
    open_stored,
    walk,
)
from support.dicom import ct
from support.pydicom_files import make_corpus

JPEG = "1.2.840.10008.1.2.4.50"


def values(data: bytes, syntax: str, until: int | None = None, head: int = 0) -> dict[int, bytes]:
    """Walk a dataset in a file; its first `head` bytes are in memory."""
    with tempfile.TemporaryFile() as file:
        file.write(b"before" + data)
        file.flush()
        return part(file.fileno(), len(data), syntax, data[:head], until)


def part(
    handle: int, size: int, syntax: str, head: bytes, until: int | None = None
) -> dict[int, bytes]:
    """Walk a dataset that starts after six bytes of a file."""
    return walk(open_stored(handle, 6, size, syntax, head), syntax, {STUDY_UID}, until)


def find_uid(data: bytes, syntax: str, tag: int) -> str:
    """Return the study's UID from the start of a dataset, "" if it is missing or truncated."""
    try:
        return decode_text(values(data, syntax, tag, len(data)).get(tag, b""))
    except MalformedDatasetError:
        return ""


def test_as_pydicom_finds_it(tmp_path: Path) -> None:
    samples = make_corpus(tmp_path)
    found = [find_uid(one.dataset[: 1 << 16], one.syntax, STUDY_UID) for one in samples]
    assert {uid for uid, one in zip(found, samples, strict=True) if uid != one.study} <= {""}
    assert len([uid for uid in found if uid]) >= len(samples) - 2
    refused = set()
    for one in samples:
        for head in (0, 1 << 16):
            try:
                told = values(one.dataset, one.syntax, head=head)
                assert decode_text(told.get(STUDY_UID, b"")) == one.study
            except MalformedDatasetError:
                refused.add(one.path)
    # pydicom tests with some that are cut short, or are not in the syntax they say.
    assert len(refused) <= 5 and len(samples) > 50
    start = samples[0].dataset[:4096]
    for end in range(len(start)):
        assert find_uid(start[:end], samples[0].syntax, STUDY_UID) in ("", samples[0].study)


def element(tag: int, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


@pytest.mark.parametrize("undefined", [False, True])
def test_one_within_a_sequence_is_not_the_studys(undefined: bool) -> None:
    inner = element(STUDY_UID, b"1.9")
    if undefined:
        item = element(0xFFFEE000, inner + element(0xFFFEE00D, b""), 0xFFFFFFFF)
        sequence = element(0x00081140, item + element(0xFFFEE0DD, b""), 0xFFFFFFFF)
    else:
        sequence = element(0x00081140, element(0xFFFEE000, inner))
    outer = element(STUDY_UID, b"1.2.3\0")
    assert find_uid(sequence + outer, IMPLICIT, STUDY_UID) == "1.2.3"
    assert find_uid(sequence, IMPLICIT, STUDY_UID) == ""


@given(st.binary(max_size=300), st.sampled_from([EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2"]))
def test_any_bytes(data: bytes, syntax: str) -> None:
    assert isinstance(find_uid(data, syntax, STUDY_UID), str)


# -- to the end ------------------------------------------------------------------------------


def sample(pixels: bool = True) -> Dataset:
    deep = Dataset()
    deep.ReferencedSOPInstanceUID = "1.9.9"
    inner, bare = Dataset(), Dataset()
    inner.ReferencedImageSequence = Sequence([deep, Dataset()])
    inner.CodeMeaning = "ab"
    data = Dataset()
    data.SpecificCharacterSet, data.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY"]
    data.SOPInstanceUID = "1.2.3"
    data.ReferencedSeriesSequence = Sequence([inner, bare])
    data.add_new(0x00091001, "UN", b"private " * 3)
    data.StudyInstanceUID = "1.2"
    data.RequestAttributesSequence = Sequence([])
    if pixels:
        data.Rows = data.Columns = 4
        data.PixelData = bytes(range(32))
        data["PixelData"].VR = "OW"
    return data


def undefined(data: Dataset) -> Dataset:
    for element in data:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                undefined(item)
    return data


def encoded(data: Dataset, syntax: str) -> bytes:
    target = DicomBytesIO()
    target.is_implicit_VR, target.is_little_endian = syntax == IMPLICIT, syntax != BIG_ENDIAN
    write_dataset(target, data)
    plain = target.getvalue()
    if syntax != DEFLATED:
        return plain
    press = zlib.compressobj(wbits=-15)
    return press.compress(plain) + press.flush()


def compressed() -> Dataset:
    data = undefined(sample())
    data.PixelData = encapsulate([b"first frame", bytes(1000), b"x" * 7])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.add_new(0xFFFCFFFC, "OB", bytes(10))
    return data


KINDS: dict[str, tuple[Dataset, str]] = {
    "explicit": (sample(), EXPLICIT),
    "implicit": (sample(), IMPLICIT),
    "big": (sample(), BIG_ENDIAN),
    "explicit, undefined lengths": (undefined(sample()), EXPLICIT),
    "implicit, undefined lengths": (undefined(sample()), IMPLICIT),
    "no pixels": (sample(False), EXPLICIT),
    "compressed": (compressed(), JPEG),
    "deflated": (sample(), DEFLATED),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [0, 100, 1 << 16])
def test_what_is_cut_is_refused_wherever_it_is_cut(kind: str, head: int) -> None:
    data, syntax = KINDS[kind]
    whole = encoded(data, syntax)
    assert values(whole, syntax, head=head)[STUDY_UID] == b"1.2\0"
    # Between two elements of the top level a dataset is as good as one that ends there.
    ends = {0}
    elements = list(data)
    for count in range(1, len(elements)):
        some = Dataset()
        for element in elements[:count]:
            some.add(element)
        ends.add(len(encoded(some, syntax)))
    if syntax == DEFLATED:
        ends = {0}
    accepted = set()
    with tempfile.TemporaryFile() as file:
        file.write(b"before" + whole)
        file.flush()
        for end in range(len(whole)):
            with suppress(MalformedDatasetError):
                part(file.fileno(), end, syntax, whole[: min(end, head)])
                accepted.add(end)
    assert accepted - ends <= {end + 1 for end in ends}  # a null byte of padding
    assert all(whole[end - 1] == 0 for end in accepted - ends)
    assert syntax == DEFLATED or ends <= accepted


@pytest.mark.parametrize("sent", KINDS)
@pytest.mark.parametrize("agreed", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG])
def test_another_syntax_than_was_agreed_on_is_refused(sent: str, agreed: str) -> None:
    data, syntax = KINDS[sent]
    if syntax == agreed or (sent == "no pixels" and agreed == JPEG):
        values(encoded(data, syntax), agreed)
    else:
        with pytest.raises(MalformedDatasetError):
            values(encoded(data, syntax), agreed)


@pytest.mark.parametrize(
    "more",
    [
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
        b"\xfe\xff\x00\xe0\0\0\0\0",
        b"\x10\x00\x10\x00LO\x04\x00a",
        b"\x10\x00\x10\x00LO\x04",
        b"\x20\x00\x0d\x00UI\x04\x001.3\0",
        struct.pack("<HH2sxxI", 0x0020, 0x000D, b"UT", 0xFFFFFFFF),
    ],
)
def test_what_does_not_fit_together_is_refused(more: bytes) -> None:
    with pytest.raises(MalformedDatasetError):
        values(encoded(sample(False), EXPLICIT) + more, EXPLICIT)


def test_a_file_instead_of_a_dataset_is_refused(tmp_path: Path) -> None:
    whole = ct(tmp_path / "a.dcm", "1.2", "1.2.3").read_bytes()
    for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED):
        for data in (whole, whole[132:]):
            with pytest.raises(MalformedDatasetError):
                values(data, syntax)


def test_depth_has_an_end() -> None:
    item = struct.pack("<HH2sxxI", 8, 0x1140, b"SQ", 0xFFFFFFFF)
    item += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(MalformedDatasetError, match="nested"):
        values(item * MOST_DEPTH, EXPLICIT)


def test_bombs_burst_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deflated bomb is refused early and never held in memory."""
    monkeypatch.setattr(dataset, "MOST_INFLATED", 64 << 20)
    monkeypatch.setattr(dataset, "MOST_ELEMENTS", 10_000)
    start, zeros = encoded(sample(False), EXPLICIT), bytes(1 << 20)
    long = struct.pack("<HH2sxxI", 0x7FE0, 8, b"OF", 65 << 20)
    few, many = (count * b"\x10\x00\x10\x00LO\x00\x00" for count in (9_000, 11_000))
    tracemalloc.start()
    try:
        for pieces, trouble in (
            ((start, long, *[zeros] * 65), "more than 64 MiB"),
            ((start, many), "more than 10000 elements"),
            ((start, few), ""),
        ):
            press = zlib.compressobj(9, wbits=-15)
            packed = b"".join(map(press.compress, pieces)) + press.flush()
            assert len(packed) < 1 << 18
            if trouble:
                with pytest.raises(MalformedDatasetError, match=trouble):
                    values(packed, DEFLATED)
            else:
                assert values(packed, DEFLATED)[STUDY_UID] == b"1.2\0"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
