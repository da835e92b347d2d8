"""Siemens' CSA headers and GE's blocks as devices write them, with made-up content."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence

PROTOCOL = """<XProtocol>
{
  <Name> "PhoenixMetaProtocol"
### ASCCONV BEGIN ###
ulVersion                                = 0x14b44b6
tSequenceFileName                        = ""%SiemensSeq%\\ep2d_bold""
tProtocolName                            = ""Novakova knee""
sProtConsistencyInfo.tBaselineString     = ""N4_VE11C_LATEST_20160120""
sKSpace.lBaseResolution                  = 90
sKSpace.dPhaseResolution                 = 1.0
sKSpace.ucPhasePartialFourier            = 0x10
sDiffusion.sFreeDiffusionData.sComment.0 = 0x4e
sDiffusion.sFreeDiffusionData.sComment.1 = 0x4f
sWipMemBlock.alFree[2]                   = 5
sWipMemBlock.tFree                       = ""by Novakova""
sCoilSelectMeas.sCoilStringForConversion = ""HEA;HEP""
sPatient.tName                           = ""Novakova""
### ASCCONV END ###
"""


def csa(fields: Sequence[tuple[str, int, str, Sequence[bytes]]], tail: bytes = bytes(4)) -> bytes:
    """Return a CSA header of fields with name, multiplicity, VR and items."""
    out = [b"SV10\x04\x03\x02\x01", struct.pack("<2i", len(fields), 77)]
    for name, multiplicity, vr, items in fields:
        padded = [*items, *[b""] * (6 - len(items))]
        out.append(
            struct.pack("<64si4s3i", name.encode(), multiplicity, vr.encode(), 0, len(padded), 77)
        )
        for item in padded:
            data = item + b"\0" if item else b""
            out.append(struct.pack("<4i", len(data), len(data), 77 if data else 205, len(data)))
            out.append(data + bytes(-len(data) % 4))
    return b"".join(out) + tail


IMAGE = (
    ("NumberOfImagesInMosaic", 1, "US", [b"36      "]),
    ("B_value", 1, "IS", [b"1000    "]),
    ("DiffusionGradientDirection", 3, "FD", [b"-0.54177439", b"0.54177451", b"0.64262062"]),
    ("MosaicRefAcqTimes", 0, "FD", [b"0.00000000", b"137.49999998", b"277.50000000"]),
    ("PhaseEncodingDirectionPositive", 1, "IS", [b"1       "]),
    ("ICE_Dims", 1, "LO", [b"X_1_1_1_1_1_1_31_1_1_1_1_599"]),
    ("ImageHistory", 0, "LO", [b"ChannelMixing:ND=true_CMM=1_CDM=1", b"CC:ComplexAdd"]),
)
SERIES = (
    ("UsedPatientWeight", 1, "IS", [b"70      "]),
    ("TransmitterCalibration", 1, "DS", [b"245.02228400"]),
    ("PatReinPattern", 1, "ST", [b"1;HFS;45.36;27.00;3;0;0;630704"]),
    ("MrPhoenixProtocol", 1, "UN", [PROTOCOL.encode()]),
)


def read_csa(data: bytes) -> dict[str, list[bytes]]:
    """Return the items with a value by field; for headers without a fault."""
    (count,) = struct.unpack_from("<i", data, 8)
    at, found = 16, {}
    for _ in range(count):
        name, _, _, _, items, _ = struct.unpack_from("<64si4s3i", data, at)
        at += 84
        values = []
        for _ in range(items):
            (length,) = struct.unpack_from("<i", data, at + 4)
            at += 16
            values.append(data[at : at + length].rstrip(b"\0"))
            at += -(-length // 4) * 4
        found[name.rstrip(b"\0").decode()] = [value for value in values if value]
    return found


def ge_protocol(lines: str) -> bytes:
    """Return a protocol data block (0025,xx1B) whose gzip header names a file, as GE's does."""
    packed = bytearray(gzip.compress(lines.encode()))
    packed[3] |= 8
    packed[10:10] = b"Novakova\0"
    return struct.pack("<I", len(packed)) + bytes(packed)


def ge_user_data(polarity: int, order: int, note: bytes) -> bytes:
    """Return user data (0043,xx2A) of an EPI scan with flags, and with a text beside them."""
    data = bytearray(2048)
    struct.pack_into("<H", data, 24, 56)
    struct.pack_into("<f", data, 56, 27.0)
    struct.pack_into("<H", data, 56 + 0x4C + 0x30, 0x0100 | polarity)
    struct.pack_into("<H", data, 56 + 0x4C + 0x3A, 0x0801)
    struct.pack_into("<H", data, 56 + 0x4C + 0x394 - 0x8C, order)
    data[1500 : 1500 + len(note)] = note
    return bytes(data)
