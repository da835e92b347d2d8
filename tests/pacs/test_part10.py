"""Looking for a UID in a dataset's start, beside pydicom."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsgrid.pacs.part10 import STUDY_UID, find_uid
from pydicom_files import make_corpus

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def test_as_pydicom_finds_it(tmp_path: Path) -> None:
    samples = make_corpus(tmp_path)
    found = [find_uid(one.dataset[: 1 << 16], one.syntax, STUDY_UID) for one in samples]
    assert {uid for uid, one in zip(found, samples, strict=True) if uid != one.study} <= {""}
    assert len([uid for uid in found if uid]) >= len(samples) - 2
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
