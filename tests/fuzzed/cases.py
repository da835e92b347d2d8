"""Damaged conversations: each case is made from its number alone, so that it can be made again.

A conversation is a list of PDUs. It is damaged as bytes (what a broken network or program sends),
as PDUs (what a confused peer sends), or in the values that the PDUs carry, framed well (what a
broken modality sends), since damage of the first kind seldom gets as far as a dataset.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
VERIFICATION = "1.2.840.10008.1.1"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
ODD_NUMBERS = (0, 1, 2, 5, 6, 0x7F, 0x80, 0xFF, 0x100, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


RELEASE, ABORT = pdu(5, bytes(4)), pdu(7, bytes(4))


def associate(
    contexts: Sequence[tuple[int, str, Sequence[str]]],
    roles: Sequence[str] = (),
    calling: str = "MODALITY",
    max_pdu: int = 16384,
) -> bytes:
    body = struct.pack(">H2x", 1) + b"PACSGRID".ljust(16) + calling.encode().ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract, syntaxes in contexts:
        sub = item(0x30, abstract.encode())
        sub += b"".join(item(0x40, uid.encode()) for uid in syntaxes)
        body += item(0x20, struct.pack("B3x", number) + sub)
    user = item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3") + item(0x55, b"FUZZ")
    for uid in roles:
        user += item(0x54, struct.pack(">H", len(uid)) + uid.encode() + b"\0\1")
    return pdu(1, body + item(0x50, user))


def command(**values: int | str) -> bytes:
    """Encode a command set; names are elements in hex after an underscore."""
    body = b""
    for name, value in sorted(values.items()):
        data = struct.pack("<H", value) if isinstance(value, int) else value.encode()
        data += b"\0" * (len(data) % 2)
        body += struct.pack("<HHI", 0, int(name[1:], 16), len(data)) + data
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def encoded(data: Dataset, syntax: str) -> bytes:
    target = DicomBytesIO()
    target.is_implicit_VR, target.is_little_endian = syntax == IMPLICIT, syntax != BIG
    write_dataset(target, data)
    return target.getvalue()


def instance(sop: str, syntax: str, generator: random.Random) -> bytes:
    data = Dataset()
    data.SpecificCharacterSet = generator.choice(["ISO_IR 192", "ISO_IR 101", "", "nonsense"])
    data.SOPClassUID, data.SOPInstanceUID = CT, sop
    if generator.random() < 0.5:
        inner = Dataset()
        inner.ReferencedSOPInstanceUID, inner.StudyInstanceUID = "1.9", "1.8.7"
        data.ReferencedImageSequence = Items([inner])
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    data.PatientID, data.Modality = "P1", "CT"
    data.Rows = data.Columns = 4
    data.PixelData = np.zeros((4, 4), np.uint16).tobytes()
    data["PixelData"].VR = "OW"
    return encoded(data, syntax)


def identifier(syntax: str, generator: random.Random) -> bytes:
    data = Dataset()
    data.QueryRetrieveLevel = generator.choice(["STUDY", "SERIES", "IMAGE", "PATIENT", "", "X"])
    data.SpecificCharacterSet = generator.choice(["ISO_IR 192", "ISO 2022 IR 87", ""])
    data.StudyInstanceUID = generator.choice(["", "1.2.1", "1.2.1\\1.2.2", "*"])
    data.PatientID = generator.choice(["", "P1", "P*", "?" * 64])
    data.PatientName = generator.choice(["", "Sub*", "[a-z]*", "*" * 40])
    data.StudyDate = generator.choice(["", "20240102", "-", "20240102-20240101"])
    return encoded(data, syntax)


@dataclass
class Value:
    """One presentation data value; framed into PDUs when the conversation is written."""

    context: int
    control: int
    data: bytes

    def framed(self, generator: random.Random) -> bytes:
        """Frame it in one or several P-DATA-TF."""
        size = generator.choice([len(self.data) or 1, 64, 1000, 16000])
        out = b""
        for at in range(0, max(1, len(self.data)), size):
            part = self.data[at : at + size]
            last = self.control & 2 if at + size >= len(self.data) else 0
            head = struct.pack(">IBB", len(part) + 2, self.context, self.control & ~2 | last)
            out += pdu(4, head + part)
        return out


Part = bytes | Value


def _message(context: int, head: bytes, dataset: bytes | None) -> list[Part]:
    values: list[Part] = [Value(context, 3, head)]
    if dataset is not None:
        values.append(Value(context, 2, dataset))
    return values


def sending(generator: random.Random) -> list[Part]:
    """A modality that sends a few instances, and a C-ECHO."""
    syntaxes = [EXPLICIT, IMPLICIT, BIG, DEFLATED, JPEG]
    contexts = [(1, CT, [EXPLICIT]), (3, VERIFICATION, [IMPLICIT])]
    contexts += [(5 + 2 * n, CT, [uid]) for n, uid in enumerate(syntaxes[1:])]
    parts: list[Part] = [associate(contexts, max_pdu=generator.choice([0, 16384, 1 << 20]))]
    for number in range(generator.randint(1, 3)):
        which = generator.randrange(5)
        sop = f"1.2.3.1.{generator.randrange(1000)}"
        head = command(_0002=CT, _0100=1, _0110=number + 1, _0700=0, _0800=1, _1000=sop)
        data = instance(sop, syntaxes[which], generator)
        parts += _message(1 if which == 0 else 3 + 2 * which, head, data)
    if generator.random() < 0.3:
        parts += _message(3, command(_0002=VERIFICATION, _0100=0x30, _0110=9, _0800=0x101), None)
    return [*parts, RELEASE]


def asking(generator: random.Random) -> list[Part]:
    """A workstation that asks and retrieves."""
    models = {1: STUDY_FIND, 3: STUDY_GET, 5: STUDY_MOVE, 7: PATIENT_FIND}
    syntax = generator.choice([EXPLICIT, IMPLICIT])
    contexts: list[tuple[int, str, Sequence[str]]] = [
        (number, uid, [syntax]) for number, uid in models.items()
    ]
    contexts += [(9, CT, [EXPLICIT]), (11, VERIFICATION, [IMPLICIT])]
    parts: list[Part] = [associate(contexts, [CT], "EVA", generator.choice([0, 4096, 16384]))]
    for number in range(generator.randint(1, 3)):
        context = generator.choice([1, 1, 3, 5, 7])
        kind = {1: 0x20, 3: 0x10, 5: 0x21, 7: 0x20}[context]
        more = {"_0600": "NOWHERE"} if context == 5 else {}
        head = command(
            _0002=models[context], _0100=kind, _0110=number + 1, _0700=0, _0800=1, **more
        )
        parts += _message(context, head, identifier(syntax, generator))
        if generator.random() < 0.3:
            cancel = command(_0100=0x0FFF, _0120=number + 1, _0800=0x101)
            parts += _message(context, cancel, None)
        if context == 3 and generator.random() < 0.7:
            for answer in range(1, 4):
                told = command(_0002=CT, _0100=0x8001, _0120=answer, _0800=0x101, _0900=0)
                parts += _message(9, told, None)
    return [*parts, RELEASE]


# -- damage ----------------------------------------------------------------------------------


def _damaged(data: bytes, generator: random.Random) -> bytes:
    """Damage bytes in one of the ways that parsers fall over."""
    if not data:
        return generator.randbytes(generator.randrange(20))
    out = bytearray(data)
    at = generator.randrange(len(out))
    match generator.randrange(8):
        case 0:
            out[at] ^= 1 << generator.randrange(8)
        case 1:
            out[at] = generator.choice((0, 1, 0x7F, 0x80, 0xFF))
        case 2:
            del out[at:]
        case 3:
            del out[at : at + generator.randrange(1, 40)]
        case 4:
            out[at:at] = generator.randbytes(generator.randrange(1, 40))
        case 5:
            out[at:at] = out[at : at + generator.randrange(1, 300)]
        case 6:
            number = generator.choice(ODD_NUMBERS)
            kind = generator.choice((">I", "<I", ">H", "<H"))
            packed = struct.pack(kind, number & (0xFFFFFFFF if kind[1] == "I" else 0xFFFF))
            out[at : at + len(packed)] = packed
        case _:
            for _ in range(generator.randrange(2, 20)):
                out[generator.randrange(len(out))] = generator.randrange(256)
    return bytes(out)


def _damage_values(parts: list[Part], generator: random.Random) -> None:
    values = [part for part in parts if isinstance(part, Value)]
    one = generator.choice(values)
    match generator.randrange(5):
        case 0:
            one.context = generator.randrange(256)
        case 1:
            one.control = generator.randrange(256)
        case _:
            for _ in range(generator.randint(1, 4)):
                one.data = _damaged(one.data, generator)


def _damage_order(parts: list[Part], generator: random.Random) -> None:
    at, other = generator.randrange(len(parts)), generator.randrange(len(parts))
    match generator.randrange(5):
        case 0:
            parts[at], parts[other] = parts[other], parts[at]
        case 1:
            parts.insert(other, parts[at])
        case 2:
            del parts[at]
        case 3:
            parts.insert(at, generator.choice([RELEASE, ABORT, pdu(9, b""), pdu(4, b"")]))
        case _:
            kind, length = generator.randrange(256), generator.choice(ODD_NUMBERS)
            parts.insert(at, struct.pack(">BxI", kind, length) + generator.randbytes(20))


@dataclass(frozen=True)
class Case:
    """A conversation's bytes as a peer would send them."""

    number: int
    data: bytes


def make(seed: int, number: int, talk: Callable[[random.Random], list[Part]]) -> Case:
    """Make a case from the seed and its number."""
    generator = random.Random(f"{seed} {number}")
    parts = talk(generator)
    kind = generator.randrange(10)
    if kind < 4:
        for _ in range(generator.randint(1, 3)):
            _damage_values(parts, generator)
    elif kind < 6:
        for _ in range(generator.randint(1, 2)):
            _damage_order(parts, generator)
    stream = BytesIO()
    for part in parts:
        stream.write(part if isinstance(part, bytes) else part.framed(generator))
    data = stream.getvalue()
    if kind >= 6:
        for _ in range(generator.randint(1, 3)):
            data = _damaged(data, generator)
    return Case(number, data)


def whole_datasets(data: bytes) -> set[bytes]:
    """Give the datasets that a conversation brings to their last fragment.

    Reads PDUs and values with nothing in common with the code under test, and believes
    everything: a file that holds no such dataset was never sent.
    """
    found: set[bytes] = set()
    held: dict[int, bytes] = {}
    at = 0
    while at + 6 <= len(data):
        kind, length = data[at], int.from_bytes(data[at + 2 : at + 6], "big")
        body = data[at + 6 : at + 6 + length]
        at += 6 + length
        if kind != 4:
            continue
        inner = 0
        while inner + 6 <= len(body):
            size = int.from_bytes(body[inner : inner + 4], "big")
            context, control = body[inner + 4], body[inner + 5]
            piece = body[inner + 6 : inner + 4 + size]
            if len(piece) < size - 2:
                break  # a value that did not come; those before it in a cut PDU did
            inner += 4 + max(2, size)
            if control & 1:
                held.pop(context, None)
                continue
            held[context] = held.get(context, b"") + piece
            if control & 2:
                found.add(held.pop(context))
    return found
