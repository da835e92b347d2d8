"""Small files that declare huge contents are held, and take no memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from support.codestreams import GREY, coded, fragments, jpeg
from support.images import header, write

MOST = 600 << 20

# Peak memory of a process of its own, and what became of each file. ru_maxrss is no measure of it:
# Linux hands the peak of the process that began it on to the new program.
RUN = """
import sys
from pathlib import Path
from support.deid_file import checked
from pacsgrid.deid import load_profile
from pacsgrid.deid.check import scan
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
looks = PixelSettings(look="all", hold=frozenset())
profile = load_profile("research").replace(pixels=looks, hold_burned_in=False)
for path in map(Path, sys.argv[1:]):
    scan([path], profile)
    try:
        checked(path, profile)
        print("done")
    except HeldError as error:
        print(error)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) << 10)
"""


def image(path: Path, syntax: UID, value: bytes, rows: int, columns: int, frames: int = 1) -> Path:
    ds = header("CT")
    write(path, ds, np.stack([GREY]), "MONOCHROME2")
    ds = dcmread(path)
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, frames
    ds.PixelData = value
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, implicit_vr=False, little_endian=True)
    return path


def large_jpeg(rows: int, columns: int) -> bytes:
    frame = jpeg()
    at = frame.index(b"\xff\xc0")
    return frame[: at + 5] + struct.pack(">HH", rows, columns) + frame[at + 9 :]


def large_jpeg2000(rows: int, columns: int) -> bytes:
    frame = coded(JPEG2000Lossless)
    at = frame.index(b"\xff\x51")
    return frame[: at + 6] + struct.pack(">LL", columns, rows) + frame[at + 14 :]


def deflated(path: Path, before: bytes = b"", after: bytes = b"") -> Path:
    """A deflated image of 150 MiB, its transfer syntax with something around it."""
    ds = header("CT")
    write(path, ds, np.stack([GREY]), "MONOCHROME2")
    ds = dcmread(path)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path, implicit_vr=False, little_endian=True)
    data = path.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    at = 144 + length
    body = zlib.decompress(data[at:], -zlib.MAX_WBITS)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pixels = body.index(b"\xe0\x7f\x10\0")
    size = 150 << 20
    parts = [deflate.compress(body[:pixels] + b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<L", size))]
    parts += [deflate.compress(bytes(1 << 20)) for _ in range(150)]
    syntax = before + DeflatedExplicitVRLittleEndian.encode() + after
    syntax += b"\0" * (len(syntax) % 2)
    start = data.index(b"\2\0\x10\0UI")
    old = int.from_bytes(data[start + 6 : start + 8], "little")
    meta = data[144 : start + 6] + struct.pack("<H", len(syntax)) + syntax
    meta += data[start + 8 + old : at]
    head = data[:140] + struct.pack("<L", len(meta)) + meta
    path.write_bytes(head + b"".join([*parts, deflate.flush()]))
    assert path.stat().st_size < 1 << 20
    return path


def bomb(path: Path, kind: str) -> Path:
    if kind == "deflated":
        return deflated(path)
    if kind == "deflated, white space before":
        return deflated(path, before=b" " * 70)
    if kind == "deflated, a line end behind":
        return deflated(path, after=b"\n ")
    if kind == "jpeg":
        return image(path, JPEGBaseline8Bit, fragments(large_jpeg(65000, 65000)), 65000, 65000)
    if kind == "jpeg in a small image":
        return image(path, JPEGBaseline8Bit, fragments(large_jpeg(65000, 65000)), 64, 64)
    if kind == "jpeg 2000 in a small image":
        value = fragments(large_jpeg2000(100_000, 100_000))
        return image(path, JPEG2000Lossless, value, 64, 64)
    if kind == "black":
        out = BytesIO()
        Image.new("L", (8000, 8000)).save(out, "JPEG", quality=50)
        return image(path, JPEGBaseline8Bit, fragments(out.getvalue()), 8000, 8000)
    if kind == "rle":
        return image(path, RLELossless, fragments(coded(RLELossless)), 60000, 60000)
    if kind == "frames":
        return image(path, JPEGBaseline8Bit, fragments(jpeg()), 64, 64, 2**31 - 1)
    value = fragments(jpeg()) + b"\xfe\xff\0\xe0\0\0\0\0" * 1_100_000
    return image(path, JPEGBaseline8Bit, value, 64, 64)


REASONS = {
    "deflated": "inflates to more than",
    "deflated, white space before": "inflates to more than",
    "deflated, a line end behind": "inflates to more than",
    "jpeg": "larger than can be looked at",
    "jpeg in a small image": "far larger than Rows and Columns",
    "jpeg 2000 in a small image": "far larger than Rows and Columns",
    "black": "larger than can be looked at",
    "rle": "larger than can be looked at",
    "frames": "1 fragments for 2147483647 frames",
    "fragments": "more than 1048576 fragments",
}


def test_bombs_are_held_in_little_memory(tmp_path: Path) -> None:
    paths = [str(bomb(tmp_path / f"{kind}.dcm", kind)) for kind in REASONS]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", RUN, *paths], env=env, capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 0, told.stderr[-2000:]
    *said, peak = told.stdout.splitlines()
    for reason, line in zip(REASONS.values(), said, strict=True):
        assert reason in line
    assert int(peak) < MOST
