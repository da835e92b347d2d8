"""Multipart bodies in pieces of every size, and malformed ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsgrid.pacs.multipart import (
    MOST_HEADER,
    MultipartError,
    MultipartReader,
    MultipartTruncatedError,
    boundary_of,
)

CONTENTS = [b"", b"\r\n", b"one", b"\r\n--", b"\r\n--edg", b"x" * 5000, b"\r\n\r\n--edge"[:-1]]


def body(contents: list[bytes], told: bool) -> bytes:
    made = b"some preamble\r\n"
    for content in contents:
        length = b"Content-Length: %d\r\n" % len(content) if told else b""
        made += b"--edge\r\nContent-Type: application/dicom\r\n" + length + b"\r\n"
        made += content + b"\r\n"
    return made + b"--edge--\r\nepilogue"


def pieces(whole: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(whole), size):
        yield whole[at : at + size]


def read(source: Iterator[bytes]) -> list[bytes]:
    return [
        b"".join(bytes(piece) for piece in content)
        for _, content in MultipartReader(source, b"edge").parts()
    ]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_pieces_of_any_size(size: int, told: bool) -> None:
    assert read(pieces(body(CONTENTS, told), size)) == CONTENTS


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 90), st.booleans())
def test_any_content(contents: list[bytes], size: int, told: bool) -> None:
    contents = [one for one in contents if b"\r\n--edge" not in b"\r\n" + one]
    assert read(pieces(body(contents, told), size)) == contents


def test_every_cut_is_seen() -> None:
    whole = body([b"one", b"two" * 9], told=False)
    end = whole.index(b"--edge--") + len(b"--edge-")
    for at in range(end):
        with pytest.raises(MultipartTruncatedError):
            read(iter([whole[:at]]))


def test_a_part_left_unread_is_passed_over() -> None:
    reader = MultipartReader(pieces(body([b"a" * 300, b"b"], told=True), 50), b"edge")
    assert [headers["content-type"] for headers, _ in reader.parts()] == ["application/dicom"] * 2


def test_a_wrong_length_is_not_believed() -> None:
    whole = body([b"one", b"two"], told=True)
    for wrong in (b"Content-Length: 2", b"Content-Length: 9"):
        with pytest.raises(MultipartError):
            read(iter([whole.replace(b"Content-Length: 3", wrong, 1)]))


def test_headers_and_preamble_are_bounded() -> None:
    endless = (b"x" * 1000 for _ in iter(int, 1))
    with pytest.raises(MultipartError):
        read(endless)
    headers = (one for one in [b"--edge\r\n", *[b"x: " + b"y" * MOST_HEADER] * 3])
    with pytest.raises(MultipartError):
        read(headers)


def test_boundary() -> None:
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    for wrong in ("application/json", "multipart/related", ""):
        with pytest.raises(MultipartError):
            boundary_of(wrong)
