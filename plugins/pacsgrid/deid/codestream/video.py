"""Find what decoders of video do not need (PS3.5 8.2.5 to 8.2.8).

Units of an elementary stream that decoding does not need become zeros, their start codes included.
Zeros between units have no meaning. MP4 files are left to `mp4`.
"""

from __future__ import annotations

import re

from . import mp4
from .frame_reader import FrameReader, Patches, unreadable

_START = re.compile(rb"\x00\x00\x01")
# All start codes but those of slices (ISO/IEC 13818-2 6.2.1). User data, reserved and system units
# are removed whole. After the end of a sequence only another sequence may follow.
_MPEG2 = re.compile(rb"\x00\x00\x01[\x00\xb0-\xff]")
_PICTURE, _SEQUENCE, _ERROR, _EXTENSION, _SEQUENCE_END, _GROUP = 0, 0xB3, 0xB4, 0xB5, 0xB7, 0xB8
_LONGEST = {_PICTURE: 5, _SEQUENCE_END: 0, _ERROR: 0, _GROUP: 4}
# Greatest length in bytes of an extension by its number (6.2.2.3 to 6.2.3.6): sequence, sequence
# display and scaling, matrices, picture display, coding and scaling. The copyright extension (4)
# is removed.
_EXTENSIONS = {1: 6, 2: 8, 3: 257, 5: 9, 7: 14, 8: 7, 9: 5, 10: 4}
_MPEG2_SYNTAXES = ("100", "101")
_HEVC_SYNTAXES = ("107", "108")
# How much of a unit of supplemental information is read, in bytes.
_CHUNK = 1 << 16
# Types of NAL units with coded video (H.264 Table 7-1, H.265 Table 7-1), and lengths of those with
# a fixed one: access unit delimiter, end of sequence, end of stream.
_H264 = frozenset((*range(1, 6), 7, 8, 13, 14, 15, 19, 20, 21))
_H264_FIXED = {9: 2, 10: 1, 11: 1}
_HEVC = frozenset((*range(10), *range(16, 22), 32, 33, 34))
_HEVC_FIXED = {35: 3, 36: 2, 37: 2}
_H264_SEI, _HEVC_SEI = frozenset((6,)), frozenset((39, 40))
# SEI messages that decoders use: buffering and picture timing, recovery points, colour volume of
# the display and light levels (H.264 Annex D, H.265 Annex D).
_MESSAGES = frozenset((0, 1, 6, 129, 132, 137, 144, 147))


def find_removable(data: FrameReader, syntax: str) -> Patches:
    """Find what a video holds beside its pictures.

    Parameters
    ----------
    data
        The video.
    syntax
        The transfer syntax UID.

    Returns
    -------
    Patches
        The bytes to overwrite.

    Raises
    ------
    HeldError
        ``pixels-unreadable``: the video is neither an elementary stream nor an MP4 file.
    """
    first = data.read(0, 12)
    number = syntax.removeprefix("1.2.840.10008.1.2.4.").split(".")[0]
    if first[4:8] == b"ftyp":
        return mp4.find_removable(data)
    if first[:1] == b"\x47" or first[4:5] == b"\x47" or first.startswith(b"\0\0\1\xba"):
        raise unreadable("it is an MPEG transport or program stream, which is not supported")
    at = data.search(_START, 0, 3)
    if at < 0:
        raise unreadable("a video has no start code")
    patches = Patches()
    patches.take_out(0, at)
    if number in _MPEG2_SYNTAXES:
        _mpeg2(data, at, patches)
    else:
        _units(data, at, number in _HEVC_SYNTAXES, patches)
    return patches


def _mpeg2(data: FrameReader, at: int, patches: Patches) -> None:
    while (at := data.search(_MPEG2, at, 4)) >= 0:
        code, start = data.read_int(at + 3, 1), at + 4
        end = data.search(_START, start, 3)
        end = data.size if end < 0 else end
        if code == _SEQUENCE:
            longest = _sequence_header(data.read(start, 72))
        elif code == _EXTENSION:
            longest = _EXTENSIONS.get(data.read_int(start, 1) >> 4, -4)
        else:
            longest = _LONGEST.get(code, -4)  # -4: the start code goes too
        patches.take_out(start + longest, end)
        at = end


def _sequence_header(body: bytes) -> int:
    """Return the length in bytes of a sequence header with its matrices (6.2.2.1)."""
    length = 8
    if len(body) > 7 and body[7] & 2:
        length += 64
    if len(body) >= length and body[length - 1] & 1:
        length += 64
    return length


def _units(data: FrameReader, at: int, hevc: bool, patches: Patches) -> None:
    """Collect the patches of a byte stream's NAL units (H.264 and H.265, Annex B)."""
    while at >= 0:
        end = data.search(_START, at + 3, 3)
        stop = data.size if end < 0 else end
        kind, start = data.read_int(at + 3, 1), at + 3
        kind = kind >> 1 & 63 if hevc else kind & 31
        fixed = (_HEVC_FIXED if hevc else _H264_FIXED).get(kind)
        if kind in (_HEVC_SEI if hevc else _H264_SEI):
            body = data.read(start + (2 if hevc else 1), min(stop - start, _CHUNK))
            if not _harmless(body[: stop - start]):
                patches.take_out(at, stop)
        elif fixed is not None:
            patches.take_out(start + fixed, stop)
        elif kind not in (_HEVC if hevc else _H264):
            patches.take_out(at, stop)
        at = end


def _harmless(body: bytes) -> bool:
    """Return whether an SEI unit has only messages that decoders use (H.264 7.3.2.3)."""
    body = body.replace(b"\0\0\3", b"\0\0").rstrip(b"\0")
    at = 0
    while at < len(body) and body[at:] != b"\x80":
        numbers = []
        for _ in range(2):
            value = 0
            while body[at : at + 1] == b"\xff":
                value, at = value + 255, at + 1
            numbers.append(value + (body[at] if at < len(body) else 0))
            at += 1
        if numbers[0] not in _MESSAGES or numbers[1] > 64:
            return False
        at += numbers[1]
    return True
