"""Judge private elements that carry the physics of an acquisition, by their value.

A value may consist of numbers, and of words that belong to the element. The headers of Siemens and
GE are taken apart byte by byte: nothing may stand in them but listed fields. The checker has tables
and parsers of its own for this.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from struct import Struct, iter_unpack, unpack_from

_Vocabulary = frozenset[str]
_Key = tuple[str, int, int]
# Says whether a long number or a short word names the patient or a day of the study.
_Found = Callable[[str], bool]

_TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]")
_INTEGER = re.compile(r"(?<![0-9.])[0-9]{6,}")
_ONE_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?")
_ONE_HEX = re.compile(r"0x[0-9a-fA-F]{1,8}")
# Letters of words that need not be listed, such as labels of coil elements.
_SHORT_WORDS = {"coil": 2, "sequence": 4}
# What the anonymiser writes in place of a word that it does not know.
_REPLACED = "X"
_STRUCTS = {
    "FL": "<f", "FD": "<d", "SL": "<l", "SS": "<h", "UL": "<L", "US": "<H",
}  # fmt: skip
_TEXTS = frozenset(("CS", "DS", "IS", "LO", "LT", "SH", "ST", "UT"))
_EXCHANGED = frozenset(("CS", "LO", "LT", "SH", "ST", "UT"))
_MOST_DIGITS, _NUMBER_LENGTH, _LARGEST = 8, 40, 1e10
# Single-precision numbers of this size stand for an unknown one.
_UNKNOWN_FROM, _UNKNOWN_TO = 1e38, 4e38

_CSA_START, _FIELD, _ITEM = b"SV10\x04\x03\x02\x01", Struct("<64si4siii"), Struct("<iiii")
_USED, _EMPTY = 77, 205
_FIELD_TYPES = {
    "CS": 16, "DS": 3, "FD": 4, "FL": 5, "IS": 6, "LO": 19, "LT": 20, "SH": 22, "SL": 7, "SS": 8,
    "ST": 23, "UL": 9, "UN": 0, "US": 10, "UT": 27,
}  # fmt: skip
_PROTOCOL_START, _PROTOCOL_END = "### ASCCONV BEGIN ###\n", "### ASCCONV END ###\n"
_PROTOCOL_LINE = re.compile(r'([A-Za-z][\w.\[\]]*) = ("*)([^"\n]*)\2')
_GE_LINE = re.compile(r'([A-Z0-9]+) "([^"\n]*)"')
_LARGEST_TEXT = 1 << 22
# Bytes of a block of user data that may be other than zero: position of the scanner's header, and
# in that its version and three numbers with the values that they may have.
_POINTER, _HEADER, _BLOCK = 24, 32, 1024
_OLD = {0x30: (0, 4), 0x3A: (0, 0x800), 0x394: (0, 1, 2)}
_NEW = {0x30 + 0x4C: (0, 4), 0x3A + 0x4C: (0, 0x800), 0x394 + 0x4C - 0x8C: (0, 1, 2)}


def _lines(name: str) -> list[list[str]]:
    text = Path(__file__).with_name(name).read_text("utf-8")
    return [line.split(";") for line in text.splitlines() if line and line[0] != "#"]


@lru_cache(maxsize=1)
def _vocabularies() -> dict[str, _Vocabulary]:
    return {name: frozenset(words.split()) for name, words in _lines("acquisition_words.csv")}


@lru_cache(maxsize=1)
def _elements() -> dict[_Key, tuple[str, str]]:
    """Return VR and vocabulary by folded creator, group and number in the creator's block."""
    found = {}
    for creator, group, vr, vocabulary, numbers in _lines("acquisition.csv"):
        if re.fullmatch(r"[0-9a-f]{4}", group):
            for number in numbers.split():
                key = (" ".join(creator.split()).casefold(), int(group, 16), int(number, 16))
                found[key] = vr, vocabulary
    return found


@lru_cache(maxsize=1)
def _headers() -> dict[str, dict[str, tuple[str, str]]]:
    """Return VR and vocabulary of the fields of each header, by name."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for header, prefix, vr, vocabulary, names in _lines("acquisition.csv"):
        if not re.fullmatch(r"[0-9a-f]{4}", prefix):
            for name in names.split():
                found.setdefault(header, {})[prefix + name] = vr, vocabulary
    return found


def acquisition_creators() -> frozenset[tuple[str, int]]:
    """Return the private creators, folded, with their groups."""
    return frozenset((creator, group) for creator, group, _ in _elements())


def is_listed(creator: str, group: int, low: int) -> bool:
    """Return whether an element carries physics of an acquisition.

    Parameters
    ----------
    creator
        Its private creator, folded.
    group, low
        Its group, and its number within the creator's block.
    """
    return (creator, group, low) in _elements()


def is_harmless(key: _Key, vr: str, value: bytes, found: _Found, little: bool = True) -> bool:
    """Return whether the value of an acquisition element consists of what belongs there.

    Parameters
    ----------
    key
        Private creator (folded), group, and number within the creator's block.
    vr, value
        The element as the result has it; ``UN`` where it gives no VR.
    found
        Says whether a long number or a short word names the patient or a day of the study.
    little
        Whether binary numbers are little endian.
    """
    listed = _elements().get(key)
    if listed is None:
        return False
    wanted, vocabulary = listed
    if vr == "UN":
        vr = wanted
    if vr != wanted and not (vr in _EXCHANGED and wanted in _EXCHANGED):
        return False
    if vocabulary == "items" or not value:
        return True
    try:
        if vr in _STRUCTS:
            return _binary(value, _STRUCTS[vr] if little else ">" + _STRUCTS[vr][1:], found)
        if vr in _TEXTS:
            return _text(value.decode("ascii"), vocabulary, found)
        return _HEADERS[vocabulary](value, found)
    except (ValueError, KeyError, ArithmeticError):
        return False


def _binary(value: bytes, form: str, found: _Found) -> bool:
    if len(value) % Struct(form).size:
        return False
    for (number,) in iter_unpack(form, value):
        if number != number or abs(number) == float("inf"):
            return False
        if abs(number) > _LARGEST:
            if not _UNKNOWN_FROM < abs(number) < _UNKNOWN_TO:
                return False
        elif abs(number) >= 1e5 and int(number) == number and found(str(abs(int(number)))):
            return False
    return True


def _text(text: str, vocabulary: str, found: _Found) -> bool:
    text = text.rstrip("\0 ")
    if any(found(number) for number in _INTEGER.findall(text)):
        return False
    if vocabulary == "numbers":
        return all(_is_number(part.strip(" ")) for part in text.split("\\"))
    words = _vocabularies()[vocabulary]
    for token in _TOKEN.findall(text):
        if token.isdigit():
            if len(token) > _MOST_DIGITS:
                return False
        elif token.isalpha():
            short = len(token) <= _SHORT_WORDS.get(vocabulary, 0)
            unknown = token not in words and token != _REPLACED
            if unknown and not (short and not found(token)):
                return False
        elif not " " <= token <= "~":
            return False
    return True


def _is_number(text: str) -> bool:
    if len(text) > _NUMBER_LENGTH or not _ONE_NUMBER.fullmatch(text):
        return False
    return not text or any(letter.isdigit() for letter in text)


def _csa(value: bytes, header: str, found: _Found) -> bool:
    """Read a CSA header to its last byte; every one must be what a field needs."""
    known = _headers()[header]
    if value[:8] != _CSA_START or len(value) < 16:
        return False
    count, mark = unpack_from("<ii", value, 8)
    at = 16
    names = set()
    if mark != _USED or not 0 < count <= len(known):
        return False
    for _ in range(count):
        if at + _FIELD.size > len(value):
            return False
        padded, multiplicity, vr, kind, items, mark = _FIELD.unpack_from(value, at)
        at += _FIELD.size
        name = padded.rstrip(b"\0").decode("ascii")
        if name in names or name not in known or mark != _USED or not 0 <= multiplicity <= items:
            return False
        names.add(name)
        wanted, vocabulary = known[name]
        if (vr, kind) != (wanted.encode() + b"\0\0", _FIELD_TYPES[wanted]) or items > len(
            value
        ) // _ITEM.size:
            return False
        for _ in range(items):
            if at + _ITEM.size > len(value):
                return False
            sizes = _ITEM.unpack_from(value, at)
            at += _ITEM.size
            size = sizes[0]
            if sizes != (size, size, _USED if size else _EMPTY, size) or size < 0:
                return False
            end = at + size + -size % 4
            if end > len(value):
                return False
            text = value[at : at + size]
            if value[at + size : end].strip(b"\0") or (size and text[-1:] != b"\0"):
                return False
            at = end
            inner = text[:-1].decode("ascii")
            if vocabulary == "protocol":
                if inner and not _protocol(inner, found):
                    return False
            elif not _text(inner, vocabulary, found):
                return False
    return at == len(value) or (len(value) - at == 1 and value[-1] == 0)


def _protocol(text: str, found: _Found) -> bool:
    known = _headers()["protocol"]
    if not text.startswith(_PROTOCOL_START) or not text.endswith(_PROTOCOL_END):
        return False
    body = text[len(_PROTOCOL_START) : -len(_PROTOCOL_END)]
    for line in body.splitlines():
        match = _PROTOCOL_LINE.fullmatch(line)
        if match is None:
            return False
        key, quotes, content = match.groups()
        index = re.findall(r"\[([^\]]*)\]", key)
        if any(not number.isdigit() or len(number) > 4 for number in index):
            return False
        _, vocabulary = known.get(re.sub(r"\[\d+\]", "[]", key), ("", ""))
        if not vocabulary:
            return False
        if vocabulary == "numbers":
            right = not quotes and (_ONE_HEX.fullmatch(content) or _is_number(content))
            if not right or any(found(number) for number in _INTEGER.findall(content)):
                return False
        elif not quotes or not _text(content, vocabulary, found):
            return False
    return True


def _xprotocol(value: bytes, found: _Found) -> bool:
    start = "<XProtocol>\n"
    text = value.decode("ascii")
    if text.endswith("\n\n"):
        text = text[:-1]  # padded to an even length
    return text.startswith(start) and _protocol(text[len(start) :], found)


def _ge_protocol(value: bytes, found: _Found) -> bool:
    known = _headers()["ge-protocol"]
    (length,) = unpack_from("<I", value, 0)
    packed = value[4 : 4 + length]
    # Ten bytes of gzip header without name, comment or time (RFC 1952).
    if len(packed) != length or value[4 + length :] not in (b"", b"\0"):
        return False
    if packed[:8] != b"\x1f\x8b\x08\0\0\0\0\0":
        return False
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = inflater.decompress(packed, _LARGEST_TEXT).decode("ascii")
    except zlib.error:
        return False
    if not inflater.eof or inflater.unused_data or not text.startswith("\n"):
        return False
    for line in text[1:].splitlines():
        match = _GE_LINE.fullmatch(line)
        if match is None or match[1] not in known:
            return False
        if not _text(match[2], known[match[1]][1], found):
            return False
    return True


def _ge_user_data(value: bytes, _found: _Found) -> bool:
    if len(value) != _BLOCK:
        return False
    (pointer,) = unpack_from("<H", value, _POINTER)
    (version,) = unpack_from("<f", value, _HEADER)
    if pointer != _HEADER or not 5 <= version <= 40 or abs(version - round(version, 3)) > 1e-4:
        return False
    rest = bytearray(value)
    rest[_POINTER : _POINTER + 2] = bytes(2)
    rest[_HEADER : _HEADER + 4] = bytes(4)
    for at, allowed in (_NEW if version >= 25.002 else _OLD).items():
        at += _HEADER
        if unpack_from("<H", value, at)[0] not in allowed:
            return False
        rest[at : at + 2] = bytes(2)
    return not any(rest)


_HEADERS: dict[str, Callable[[bytes, _Found], bool]] = {
    "csa-image": lambda value, found: _csa(value, "csa-image", found),
    "csa-series": lambda value, found: _csa(value, "csa-series", found),
    "xprotocol": _xprotocol,
    "ge-protocol": _ge_protocol,
    "ge-user-data": _ge_user_data,
}
