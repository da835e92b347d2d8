"""Find what decoders of JPEG and JPEG-LS do not need (ITU-T T.81 Annex B, T.87 Annex C).

Frame and scan headers stay, with the tables that a scan uses and the entropy-coded segments. Of
application segments only the fields that declare the colour transform stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .frame_reader import FrameReader, Patches, unreadable

SOI = b"\xff\xd8"
_EOI, _SOS, _DQT, _DHT, _DAC, _DNL, _DRI, _DHP, _EXP = (
    0xD9, 0xDA, 0xDB, 0xC4, 0xCC, 0xDC, 0xDD, 0xDE, 0xDF,
)  # fmt: skip
_SOF_LS, _LSE, _COM = 0xF7, 0xF8, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, _DAC} | {_SOF_LS}
_LOSSLESS = frozenset((0xC3, 0xC7, 0xCB, 0xCF, _SOF_LS))
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
# Markers without a length: RSTn, SOI, TEM.
_ALONE = frozenset((*range(0xD0, 0xD9), 0x01))
# The end of an entropy-coded segment: after FF, T.81 stuffs a zero byte and T.87 a zero bit.
_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_MARKER = re.compile(rb"\xff[^\x00\xff]")
# How many bytes of an application segment decoding needs, by its marker and first bytes.
_APPLICATION = (
    (0xE0, b"JFIF\0", 14),  # T.871 10.1: version and density; the thumbnail goes
    (0xEE, b"Adobe", 12),  # T.872 6.5.3: the colour transform
    (0xE8, b"SPIFF\0", 30),  # T.84 F.2.2
    (0xE8, b"\0\0\0\1\xff\xd8", 6),  # T.84 F.2.2.5: the end of its directory
    (0xE8, b"mrfx", 5),  # the colour transform of HP's JPEG-LS
)


@dataclass
class _Table:
    """The position of a table's values, and whether a scan uses it."""

    start: int
    end: int
    used: bool = False


@dataclass
class _Frame:
    process: int = 0
    bits: int = 0
    quantisation: dict[int, int] = field(default_factory=dict)  # table by component
    tables: dict[tuple[str, int], _Table] = field(default_factory=dict)
    defined: list[_Table] = field(default_factory=list)
    scans: int = 0
    samples: int = 0
    row_samples: int = 0
    lines: int = 0

    def define(self, kind: str, number: int, start: int, end: int) -> None:
        table = self.tables[kind, number] = _Table(start, end)
        self.defined.append(table)

    def set_lines(self, lines: int) -> None:
        """Record the number of lines; 0 if the frame header leaves it to a DNL segment."""
        self.lines = max(self.lines, lines)
        self.samples = max(self.samples, lines * self.row_samples)

    def use(self, kind: str, number: int) -> None:
        if (kind, number) in self.tables:
            self.tables[kind, number].used = True


def find_removable(data: FrameReader) -> Patches:
    """Find what a frame holds beside its image.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the data is not JPEG, has no image or no number of lines, or a
        segment that decoding needs is cut short.
    """
    patches, frame, at = Patches(), _Frame(), 0
    if data.read(0, 2) != SOI:
        raise unreadable("a frame does not begin with a JPEG marker")
    while at < data.size:
        here = at if data.read(at, 1) == b"\xff" else data.search(_MARKER, at, 2)
        if here < 0:
            # Decoders skip other bytes where a marker is due.
            patches.take_out(at, data.size)
            break
        patches.take_out(at, here)
        at = here
        # Any number of fill bytes may precede a marker (T.81 B.1.1.2).
        while (code := data.read(at + 1, 1)) == b"\xff":
            run = data.read(at, 4096)
            at += max(1, len(run) - len(run.lstrip(b"\xff")) - 1)
        if not code:
            break
        if code == b"\0":
            patches.take_out(at, at + 2)
            at += 2
        elif code[0] == _EOI:
            if data.size - at > 3:  # more than a byte of padding
                patches.take_out(at + 2, data.size)
            break
        elif code[0] in _ALONE:
            at += 2
        elif code[0] < 0xC0:
            raise unreadable("a frame has a reserved marker")
        else:
            at = _segment(data, at, code[0], frame, patches)
    if not frame.process or not frame.scans:
        raise unreadable("a frame has no image")
    if not frame.lines:
        # Some decoders never stop reading such a frame and exhaust the memory (T.81 B.2.5).
        raise unreadable("a frame does not declare its number of lines")
    patches.samples = frame.samples
    for table in frame.defined:
        if not table.used:
            patches.take_out(table.start, table.end)
    return patches


def _segment(data: FrameReader, at: int, marker: int, frame: _Frame, patches: Patches) -> int:
    start, end = at + 4, at + 2 + data.read_int(at + 2)
    needed = marker in _FRAMES or marker in (
        _SOS, _DQT, _DHT, _DAC, _DNL, _DRI, _DHP, _EXP, _LSE,
    )  # fmt: skip
    if end < start or (needed and end > data.size):
        if needed:
            raise unreadable("a segment of a frame is cut short")
        end = min(max(end, start), data.size)
    end = min(end, data.size)
    body = data.read(start, end - start)
    if not needed:
        patches.take_out(start + _kept(marker, body), end)
        return end
    if marker == _DQT:
        used = _quantisation(body, start, frame)
    elif marker == _DHT:
        used = _huffman(body, start, frame)
    elif marker == _LSE:
        used = _extension(body, start, frame)
    elif marker == _SOS:
        return _scan(data, body, start, end, frame, patches)
    elif marker in _FRAMES or marker == _DHP:
        used = _frame(body, marker, frame)
    elif marker == _EXP:
        used = 1
    elif marker == _DNL:
        used = 2
        frame.set_lines(int.from_bytes(body[:2], "big"))
    elif marker == _DAC:
        used = len(body) - len(body) % 2
    elif frame.process == _SOF_LS and marker == _DRI:
        used = min(len(body), 4)  # two to four bytes (T.87 C.2.5)
    else:
        used = 2
    patches.take_out(start + used, end)
    return end


def _kept(marker: int, body: bytes) -> int:
    """Return how many bytes of an application segment decoding needs."""
    for code, prefix, length in _APPLICATION:
        if marker == code and body.startswith(prefix):
            return length
    return 0


def _frame(body: bytes, marker: int, frame: _Frame) -> int:
    count = body[5] if len(body) > 5 else 0
    if len(body) < 6 + 3 * count or not count:
        raise unreadable("the header of a frame is cut short")
    if marker != _DHP:
        frame.process, frame.bits = marker, body[0]
        rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        frame.row_samples = columns * count
        frame.set_lines(rows)
        for n in range(count):
            component, _, table = body[6 + 3 * n : 9 + 3 * n]
            frame.quantisation[component] = table
    return 6 + 3 * count


def _quantisation(body: bytes, start: int, frame: _Frame) -> int:
    at = 0
    while at < len(body):
        length = 128 if body[at] >> 4 else 64
        if at + 1 + length > len(body):
            break
        frame.define("q", body[at] & 15, start + at + 1, start + at + 1 + length)
        at += 1 + length
    return at


def _huffman(body: bytes, start: int, frame: _Frame) -> int:
    at = 0
    while at + 17 <= len(body):
        length = sum(body[at + 1 : at + 17])
        if at + 17 + length > len(body):
            break
        # The numbers of codes stay, since they locate the next table.
        frame.define(
            "ac" if body[at] >> 4 else "dc", body[at] & 15, start + at + 17,
            start + at + 17 + length,
        )  # fmt: skip
        at += 17 + length
    return at


def _extension(body: bytes, start: int, frame: _Frame) -> int:
    """Read a JPEG-LS parameter segment (T.87 C.2.4)."""
    kind = body[0] if body else 0
    if kind == 1:
        return 11
    if kind in (2, 3) and len(body) >= 3:
        frame.define("map", body[1], start + 3, start + len(body))
        return len(body)
    if kind == 4 and len(body) >= 2:
        # Oversize images: rows and columns of more than two bytes.
        frame.samples, frame.lines = 1 << 32, 1
        return 2 + 2 * body[1]
    return 1


def _scan(
    data: FrameReader, body: bytes, start: int, end: int, frame: _Frame, patches: Patches
) -> int:
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count or not count or not frame.process:
        raise unreadable("the header of a scan is cut short")
    selection = start + 1 + 2 * count
    patches.take_out(selection + 3, end)
    if frame.process in _SEQUENTIAL and frame.bits == 12 and body[2 + 2 * count] != 63:
        # The end of spectral selection must be 63 (T.81 Table B.3). Some writers leave it 0, which
        # some decoders refuse.
        patches.take_out(selection + 1, selection + 2, b"\x3f")
    frame.scans += 1
    for n in range(count):
        component, tables = body[1 + 2 * n : 3 + 2 * n]
        if frame.process == _SOF_LS:
            frame.use("map", tables)
            continue
        frame.use("dc", tables >> 4)
        frame.use("ac", tables & 15)
        if frame.process not in _LOSSLESS:
            frame.use("q", frame.quantisation.get(component, 0))
    pattern = _END_LS if frame.process == _SOF_LS else _END
    found = data.search(pattern, end, 2)
    return found if found >= 0 else data.size
