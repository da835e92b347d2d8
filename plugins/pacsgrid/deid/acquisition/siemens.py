"""Write Siemens' private headers anew: CSA headers, and the protocol inside them.

Nothing is copied but numbers and words: names and types of fields come from the table, lengths are
computed, and what lies between or behind the fields is zero.
"""

from __future__ import annotations

import re
import struct

from .table import HeaderField, fields
from .values import (
    Identifies,
    clean_text,
    clean_words,
    holds_long_number,
    is_protocol_number,
)

_MAGIC = b"SV10\x04\x03\x02\x01"
_TAG, _ITEM = struct.Struct("<64si4s3i"), struct.Struct("<4i")
# A mark behind counts: a header or field that has values, and one that has none.
_USED, _UNUSED = 77, 205
_MOST_TAGS, _MOST_ITEMS = 1024, 4096
# Readers expect at least so many items, the rest of them empty.
_FEWEST_ITEMS = 6
# Siemens' number of each VR.
_TYPES = {
    "UN": 0, "DS": 3, "FD": 4, "FL": 5, "IS": 6, "SL": 7, "SS": 8, "UL": 9, "US": 10, "CS": 16,
    "LO": 19, "LT": 20, "SH": 22, "ST": 23, "UT": 27,
}  # fmt: skip
_BEGIN, _END = b"### ASCCONV BEGIN", b"### ASCCONV END"
_LINE = re.compile(r"\s*([A-Za-z][\w.\[\]]*)\s*=\s*(.*?)\s*(?:#.*)?")
_INDEX = re.compile(r"\[(\d{1,4})\]")
_QUOTED = re.compile(r'("{1,2})([^"]*)("{1,2})')


def rewrite_csa(
    value: bytes, known: dict[str, HeaderField], identifies: Identifies
) -> bytes | None:
    """Return a CSA header with the listed fields only, or None when it has none of them.

    Parameters
    ----------
    value
        The header as the device wrote it, in the form ``SV10``.
    known
        The fields that stay.
    identifies
        Says which long numbers may not stay.
    """
    made = []
    seen = set()
    for name, multiplicity, texts in _read_fields(value):
        field = known.get(name)
        if field is None or name in seen:
            continue
        seen.add(name)
        kept = _clean_items(texts, field, identifies)
        if any(kept):
            made.append(_write_field(name, multiplicity, field.vr, kept))
    if not made:
        return None
    return _MAGIC + struct.pack("<2i", len(made), _USED) + b"".join(made)


def _read_fields(value: bytes) -> list[tuple[str, int, list[bytes]]]:
    """Return name, multiplicity and items of each field, up to the first that is malformed."""
    found: list[tuple[str, int, list[bytes]]] = []
    if value[:4] != _MAGIC[:4] or len(value) < 16:
        return found
    (count,) = struct.unpack_from("<i", value, 8)
    at = 16
    for _ in range(min(max(count, 0), _MOST_TAGS)):
        if at + _TAG.size > len(value):
            return found
        name, multiplicity, _, _, items, _ = _TAG.unpack_from(value, at)
        at += _TAG.size
        if not 0 <= items <= _MOST_ITEMS:
            return found
        texts = []
        for _ in range(items):
            if at + _ITEM.size > len(value):
                return found
            length = _ITEM.unpack_from(value, at)[1]
            at += _ITEM.size
            if length < 0 or at + length > len(value):
                return found
            texts.append(value[at : at + length])
            at += -(-length // 4) * 4
        found.append((name.partition(b"\0")[0].decode("latin-1"), multiplicity, texts))
    return found


def _clean_items(items: list[bytes], field: HeaderField, identifies: Identifies) -> list[bytes]:
    """Return the items of a field at their places, all empty when one of them may not stay."""
    kept = []
    for item in items:
        if field.rule.kind == "rewrite":
            kept.append(rewrite_protocol(item, identifies) or b"")
            continue
        text = item.partition(b"\0")[0].decode("latin-1").strip(" ")
        made = None if "\\" in text else clean_text(text, field.rule, identifies)
        if made is None:
            return []
        kept.append(made.encode("latin-1"))
    return kept


def _write_field(name: str, multiplicity: int, vr: str, items: list[bytes]) -> bytes:
    multiplicity = multiplicity if 0 <= multiplicity <= len(items) else 0
    while len(items) < _FEWEST_ITEMS:
        items.append(b"")
    parts = [_TAG.pack(name.encode(), multiplicity, vr.encode(), _TYPES[vr], len(items), _USED)]
    for item in items:
        data = item + b"\0" if item else b""
        mark = _USED if data else _UNUSED
        parts.append(_ITEM.pack(len(data), len(data), mark, len(data)))
        parts.append(data + bytes(-len(data) % 4))
    return b"".join(parts)


def rewrite_xprotocol(value: bytes, identifies: Identifies) -> bytes | None:
    """Return the protocol of an enhanced object with the listed keys only, or None without any.

    Parameters
    ----------
    value
        The protocol as the device wrote it.
    identifies
        Says which long numbers may not stay.
    """
    made = rewrite_protocol(value, identifies)
    if made is None:
        return None
    made = b"<XProtocol>\n" + made
    return made + b"\n" * (len(made) % 2)


def rewrite_protocol(value: bytes, identifies: Identifies) -> bytes | None:
    """Return the lines of a protocol that have a listed key and a number or known word.

    Parameters
    ----------
    value
        Text that holds a protocol between the marks ASCCONV BEGIN and END.
    identifies
        Says which long numbers may not stay.
    """
    start = value.find(_BEGIN)
    end = value.find(_END, start)
    if start < 0 or end < 0:
        return None
    known = fields("protocol")
    lines = []
    for line in value[start:end].decode("latin-1").split("\n")[1:]:
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            continue
        key, text = match[1], match[2]
        field = known.get(_INDEX.sub("[]", key))
        made = _clean_setting(text, field, identifies) if field is not None else None
        if made is not None:
            lines.append(f"{key} = {made}\n")
    if not lines:
        return None
    body = "".join(lines).encode("ascii")
    return _BEGIN + b" ###\n" + body + _END + b" ###\n"


def _clean_setting(text: str, field: HeaderField, identifies: Identifies) -> str | None:
    if field.rule.kind == "number":
        allowed = is_protocol_number(text) and not holds_long_number(text, identifies)
        return text if allowed else None
    match = _QUOTED.fullmatch(text)
    if match is None or match[1] != match[3]:
        return None
    made = clean_words(match[2], field.rule, identifies)
    return None if made is None else f"{match[1]}{made}{match[1]}"
