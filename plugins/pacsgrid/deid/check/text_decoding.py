"""The checker's own reading of text: character sets, and words as they compare."""

from __future__ import annotations

import re
import unicodedata

from pydicom.charset import convert_encodings, decode_bytes

from .reader import Items

_CHARSET = 0x00080005
_WORD = re.compile(r"[^\W_]+")
# How names are written where the letters are wanting: Müller is also Mueller.
_SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae"}
)  # fmt: skip
_DIGRAPHS = re.compile(r"(?<=[a-z][aou])e(?=[a-z]{2})")
_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "ł": "l", "đ": "d", "ı": "i", "ð": "d", "þ": "th", "œ": "oe"}
)
UNSEEN = frozenset(("Mn", "Mc", "Me", "Cf"))
# One sign for a syllable, whether it came as hiragana or katakana.
_KANA = {code - 0x60: code for code in range(0x30A1, 0x30F7)}
_DELIMITERS = {"\\", "^", "="}


def encodings_of(items: Items, outer: tuple[str, ...]) -> tuple[str, ...]:
    """Return the encodings that hold in a dataset or item (PS3.5 6.1.2.4)."""
    element = items.get(_CHARSET)
    if element is None or not element.value.strip(b"\0 "):
        return outer
    names = element.value.decode("latin-1").strip("\0 ").split("\\")
    try:
        return tuple(convert_encodings([name.strip() for name in names]))
    except LookupError:
        return outer


def decode(value: bytes, encodings: tuple[str, ...]) -> str:
    """Return a value's text; bytes that its character set does not have become U+FFFD."""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii").strip("\0 ")
    try:
        return str(decode_bytes(value, list(encodings), _DELIMITERS)).strip("\0 ")
    except (LookupError, UnicodeError):
        return value.decode("latin-1").strip("\0 ")


def possible_readings(value: bytes, encodings: tuple[str, ...]) -> set[str]:
    """Return all that a value may say: senders often write another set than they declare."""
    found = {decode(value, encodings)}
    if not value.isascii():
        for other in ("utf-8", "cp1250"):
            try:
                found.add(value.decode(other).strip("\0 "))
            except UnicodeDecodeError:
                continue
    return found


def undo_mojibake(text: str) -> set[str]:
    """Return what a text says if it was written as UTF-8 and read as Latin."""
    found: set[str] = set()
    for other in ("latin-1", "cp1252", "iso8859-2") if not text.isascii() else ():
        try:
            found.add(text.encode(other).decode("utf-8"))
        except UnicodeError:
            continue
    return found - {text}


def fold(text: str) -> str:
    """Return lower-case words without diacritics, one space between them."""
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
        # Marks of any kind, and what nobody sees; Hangul is put together again.
        kept = "".join(c for c in plain if unicodedata.category(c) not in UNSEEN)
        text = unicodedata.normalize("NFC", kept).translate(_KANA)
    return " ".join(_WORD.findall(text.casefold()))


def fold_spellings(text: str) -> set[str]:
    """Return the spellings of a name: without diacritics, and with letters spelled out."""
    composed = unicodedata.normalize("NFC", text).casefold()
    spelled = fold(composed.translate(_SPELLED))
    return {fold(text), spelled, _DIGRAPHS.sub("", spelled)}
