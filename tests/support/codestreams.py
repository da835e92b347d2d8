"""Compressed frames with a text where no image is, by each grammar."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image
from pydicom.pixels import get_encoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

TEXT = b"Kvapilova^Zdenka RC7654321 1961-05-04"
SIDE = 64
GREY = (np.add.outer(np.arange(SIDE), 3 * np.arange(SIDE)) % 251).astype(np.uint8)
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"

Form = Callable[[bytes], bytes]  # of the text: the value of a pixel data element


def jpeg(progressive: bool = False) -> bytes:
    """Return the picture as baseline or progressive JPEG."""
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "JPEG", progressive=progressive, quality=90)
    return out.getvalue()


def coded(syntax: UID) -> bytes:
    """Return the picture compressed without loss."""
    frame: bytes = get_encoder(syntax).encode(
        GREY, rows=SIDE, columns=SIDE, number_of_frames=1, samples_per_pixel=1, bits_allocated=8,
        bits_stored=8, pixel_representation=0, photometric_interpretation="MONOCHROME2",
    )  # fmt: skip
    return frame


def fragments(*parts: bytes, table: bytes = b"") -> bytes:
    """Return an encapsulated value of these fragments (PS3.5 A.4)."""
    parts = tuple(part + b"\0" * (len(part) % 2) for part in parts)
    return b"".join(ITEM + struct.pack("<L", len(part)) + part for part in (table, *parts))


def segment(marker: int, body: bytes) -> bytes:
    """Return a marker segment of JPEG or JPEG 2000."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def box(kind: bytes, body: bytes) -> bytes:
    """Return a box of JP2 or MP4."""
    return struct.pack(">L", 8 + len(body)) + kind + body


def _at(frame: bytes, marker: bytes, put: bytes) -> bytes:
    at = frame.index(marker)
    return frame[:at] + put + frame[at:]


def _last(frame: bytes, marker: bytes, put: bytes) -> bytes:
    at = frame.rindex(marker)
    return frame[:at] + put + frame[at:]


def _split(frame: bytes, text: bytes) -> bytes:
    at = frame.index(text) + 5
    return fragments(frame[: at + at % 2], frame[at + at % 2 :])


def _rle(text: bytes, where: str) -> bytes:
    frame = coded(RLELossless)
    if where == "header":
        frame = frame[:8] + text.ljust(56, b"\0") + frame[64:]
    elif where == "gap":
        text += b"\0" * (len(text) % 2)
        frame = frame[:4] + struct.pack("<L", 64 + len(text)) + frame[8:64] + text + frame[64:]
    else:
        frame += text
    return fragments(frame)


def _jp2(*boxes: bytes, colour: bytes = b"\1\0\0\0\0\0\x11") -> bytes:
    head = box(b"ihdr", struct.pack(">LLHBBBB", SIDE, SIDE, 1, 7, 7, 0, 0)) + box(b"colr", colour)
    return (
        box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", head)
        + b"".join(boxes)
    )  # fmt: skip


def _table(frame: bytes, text: bytes) -> bytes:
    """Put a quantisation table of text that no component uses in front of the scan."""
    return _at(frame, b"\xff\xda", segment(0xDB, b"\3" + text.ljust(64, b" ")))


def _codes(frame: bytes, text: bytes) -> bytes:
    counts = bytes((0,) * 7) + bytes((len(text),)) + bytes(8)
    return _at(frame, b"\xff\xda", segment(0xC4, b"\x13" + counts + text))


J2K = JPEG2000Lossless
FORMS: dict[str, tuple[UID, Form]] = {
    "jpeg fill": (JPEGBaseline8Bit, lambda t: fragments(
        _at(jpeg(), b"\xff\xdb", b"\xff\xff\xff" + segment(0xFE, t)))),
    "jpeg before eoi": (JPEGBaseline8Bit, lambda t: fragments(
        _last(jpeg(), b"\xff\xd9", segment(0xFE, t)))),
    "jpeg between scans": (JPEGBaseline8Bit, lambda t: fragments(
        _last(jpeg(True), b"\xff\xda", segment(0xFE, t)))),
    "jpeg behind eoi": (JPEGBaseline8Bit, lambda t: fragments(jpeg() + t)),
    "jpeg far behind eoi": (JPEGBaseline8Bit, lambda t: fragments(jpeg() + bytes(300_000) + t)),
    "jpeg comment far behind": (JPEGBaseline8Bit, lambda t: fragments(
        _at(jpeg(), b"\xff\xda", segment(0xFE, bytes(65_000)) * 5 + segment(0xFE, t)))),
    "jpeg across fragments": (JPEGBaseline8Bit, lambda t: _split(
        _at(jpeg(), b"\xff\xdb", segment(0xFE, t)), t)),
    "jpeg no marker": (JPEGBaseline8Bit, lambda t: fragments(_at(jpeg(), b"\xff\xdb", t))),
    "jpeg thumbnail": (JPEGBaseline8Bit, lambda t: fragments(
        _at(jpeg(), b"\xff\xdb", segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\1\x0d" + t)))),
    "jpeg exif": (JPEGBaseline8Bit, lambda t: fragments(
        _at(jpeg(), b"\xff\xdb", segment(0xE1, b"Exif\0\0" + t)))),
    "jpeg profile": (JPEGBaseline8Bit, lambda t: fragments(
        _at(jpeg(), b"\xff\xdb", segment(0xE2, b"ICC_PROFILE\0\1\1" + t)))),
    "jpeg adobe": (JPEGBaseline8Bit, lambda t: fragments(
        _at(jpeg(), b"\xff\xdb", segment(0xEE, b"Adobe\0\x64\0\0\0\0\0" + t)))),
    "jpeg unused table": (JPEGBaseline8Bit, lambda t: fragments(_table(jpeg(), t))),
    "jpeg unused codes": (JPEGBaseline8Bit, lambda t: fragments(_codes(jpeg(), t))),
    "jpeg further fragment": (JPEGBaseline8Bit, lambda t: fragments(jpeg(), t)),
    "jpeg offset table": (JPEGBaseline8Bit, lambda t: fragments(
        jpeg(), table=t.ljust(40, b"\0"))),
    "jpeg-ls comment": (JPEGLSLossless, lambda t: fragments(
        _at(coded(JPEGLSLossless), b"\xff\xda", segment(0xFE, t)))),
    "jpeg-ls application": (JPEGLSLossless, lambda t: fragments(
        _at(coded(JPEGLSLossless), b"\xff\xda", segment(0xE8, t)))),
    "jpeg-ls behind eoi": (JPEGLSLossless, lambda t: fragments(coded(JPEGLSLossless) + t)),
    "jpeg 2000 comment": (J2K, lambda t: fragments(
        _at(coded(J2K), b"\xff\x90", segment(0x64, b"\0\1" + t)))),
    "jpeg 2000 tile comment": (J2K, lambda t: fragments(_in_tile(coded(J2K), t))),
    "jpeg 2000 unknown marker": (J2K, lambda t: fragments(
        _at(coded(J2K), b"\xff\x90", segment(0x6F, t)))),
    "jpeg 2000 packet lengths": (J2K, lambda t: fragments(
        _at(coded(J2K), b"\xff\x90", segment(0x57, t)))),
    "jpeg 2000 tile lengths": (J2K, lambda t: fragments(
        _at(coded(J2K), b"\xff\x90", segment(0x55, b"\0\x40" + t.ljust(40))))),
    "jpeg 2000 behind eoc": (J2K, lambda t: fragments(coded(J2K) + t)),
    "jpeg 2000 no tile length": (J2K, lambda t: fragments(_open_tile(coded(J2K)) + t)),
    "jp2 xml": (J2K, lambda t: fragments(
        _jp2(box(b"xml ", b"<p>" + t + b"</p>"), box(b"jp2c", coded(J2K))))),
    "jp2 uuid behind": (J2K, lambda t: fragments(
        _jp2(box(b"jp2c", coded(J2K)), box(b"uuid", bytes(16) + t)))),
    "jp2 profile": (J2K, lambda t: fragments(
        _jp2(box(b"jp2c", coded(J2K)), colour=b"\2\0\0" + t))),
    "jp2 no box": (J2K, lambda t: fragments(_jp2(box(b"jp2c", coded(J2K))) + t)),
    "rle header": (RLELossless, lambda t: _rle(t, "header")),
    "rle gap": (RLELossless, lambda t: _rle(t, "gap")),
    "rle tail": (RLELossless, lambda t: _rle(t, "tail")),
    "rle further fragment": (RLELossless, lambda t: fragments(coded(RLELossless), t)),
    "rle offset table": (RLELossless, lambda t: fragments(
        coded(RLELossless), table=t.ljust(40, b"\0"))),
}  # fmt: skip


def _in_tile(frame: bytes, text: bytes) -> bytes:
    comment, at = segment(0x64, b"\0\1" + text), frame.index(b"\xff\x90")
    (length,) = struct.unpack_from(">L", frame, at + 6)
    frame = frame[: at + 6] + struct.pack(">L", length + len(comment)) + frame[at + 10 :]
    return _at(frame, b"\xff\x93", comment)


def _open_tile(frame: bytes) -> bytes:
    at = frame.index(b"\xff\x90")
    return frame[: at + 6] + bytes(4) + frame[at + 10 :]


def units(*bodies: bytes) -> bytes:
    """Return coded units behind start codes (H.264 Annex B, ISO/IEC 13818-2 6.2)."""
    return b"".join(b"\0\0\1" + body for body in bodies)


MPEG2, H264, HEVC = (UID(f"1.2.840.10008.1.2.4.{n}") for n in (100, 102, 107))
_SLICE = bytes(range(1, 250))


def _supplement(text: bytes) -> bytes:
    return bytes((5, 16 + len(text))) + bytes(range(1, 17)) + text + b"\x80"


_MOOV = box(b"mvhd", bytes(100)) + box(b"trak", box(b"mdia", box(b"hdlr", bytes(24) + b"VideoH\0")))
VIDEOS: dict[str, tuple[UID, Form]] = {
    "mpeg-2 user data": (MPEG2, lambda t: fragments(units(
        b"\xb3" + bytes((4, 0, 64, 0x11, 1, 1, 1, 1)), b"\xb2" + t, b"\0" + b"\1" * 8,
        b"\1" + _SLICE, b"\xb7"))),
    "mpeg-2 behind the end": (MPEG2, lambda t: fragments(units(
        b"\xb3" + bytes((4, 0, 64, 0x11, 1, 1, 1, 1)), b"\1" + _SLICE, b"\xb7" + t))),
    "mpeg-2 extension": (
        MPEG2,
        lambda t: fragments(
            units(
                b"\xb3" + bytes((4, 0, 64, 0x11, 1, 1, 1, 1)),
                b"\xb5\x14" + bytes(range(1, 6)) + t,
                b"\xb5\x40" + t,
                b"\xb8" + bytes(range(1, 5)) + t,
                b"\0" + bytes(range(1, 6)) + t,
                b"\1" + _SLICE,
            )
        ),
    ),
    "mpeg-2 across fragments": (MPEG2, lambda t: _split(units(
        b"\xb3" + bytes((4, 0, 64, 0x11, 1, 1, 1, 1)), b"\xb2" + t, b"\1" + _SLICE), t)),
    "h.264 supplement": (H264, lambda t: fragments(units(
        b"\x67\x42\1\2", b"\x68\1\2", b"\6" + _supplement(t), b"\x65" + _SLICE))),
    "h.264 filler": (H264, lambda t: fragments(units(
        b"\x67\x42\1\2", b"\x65" + _SLICE, b"\x0c" + t))),
    "hevc supplement": (HEVC, lambda t: fragments(units(
        b"\x42\1\1\2", b"\x4e\1" + _supplement(t), b"\x26\1" + _SLICE))),
    "mp4 user data": (H264, lambda t: fragments(
        box(b"ftyp", b"isom\0\0\0\1isom")
        + box(b"moov", _MOOV + box(b"udta", box(b"meta", t)))
        + box(b"mdat", _SLICE))),
    "mp4 free": (H264, lambda t: fragments(
        box(b"ftyp", b"isom\0\0\0\1isom") + box(b"moov", _MOOV)
        + box(b"free", t) + box(b"mdat", _SLICE) + box(b"uuid", bytes(16) + t))),
    "mp4 handler": (H264, lambda t: fragments(
        box(b"ftyp", b"isom\0\0\0\1isom")
        + box(b"moov", box(b"trak", box(b"mdia", box(b"hdlr", bytes(24) + t))))
        + box(b"mdat", _SLICE))),
}  # fmt: skip
