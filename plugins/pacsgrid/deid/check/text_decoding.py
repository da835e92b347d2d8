"""Decode text and fold it for comparison. The checker's own code."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from pydicom.charset import convert_encodings, decode_bytes

from .reader import Items

_CHARSET = 0x00080005
_WORD = re.compile(r"[^\W_]+")
# Spellings without special letters: Müller is also Mueller.
_SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae"}
)  # fmt: skip
_DIGRAPHS = re.compile(r"(?<=[a-z][aou])e(?=[a-z]{2})")
_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "ł": "l", "đ": "d", "ı": "i", "ð": "d", "þ": "th", "œ": "oe"}
)
UNSEEN = frozenset(("Mn", "Mc", "Me", "Cf"))
# Maps katakana to hiragana.
_KANA = {code - 0x60: code for code in range(0x30A1, 0x30F7)}
# Maps traditional Chinese characters to simplified ones.
_HAN = {
    ord(pair[0]): ord(pair[1])
    for line in Path(__file__).with_name("han_variants.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
    for pair in line.split()
}
_DELIMITERS = {"\\", "^", "="}


def encodings_of(items: Items, outer: tuple[str, ...]) -> tuple[str, ...]:
    """Return the Python encodings of a dataset or item (PS3.5 6.1.2.4).

    Parameters
    ----------
    items
        Its elements.
    outer
        The encodings of the dataset around it, which it inherits.
    """
    element = items.get(_CHARSET)
    if element is None or not element.value.strip(b"\0 "):
        return outer
    names = element.value.decode("latin-1").strip("\0 ").split("\\")
    try:
        return tuple(convert_encodings([name.strip() for name in names]))
    except LookupError:
        return outer


def decode(value: bytes, encodings: tuple[str, ...]) -> str:
    """Return a value's text, without padding.

    Parameters
    ----------
    value
        The value's bytes. Those that its character set lacks become U+FFFD.
    encodings
        Python encodings, as `encodings_of` returns them.
    """
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii").strip("\0 ")
    try:
        return str(decode_bytes(value, list(encodings), _DELIMITERS)).strip("\0 ")
    except (LookupError, UnicodeError):
        return value.decode("latin-1").strip("\0 ")


def possible_readings(value: bytes, encodings: tuple[str, ...]) -> set[str]:
    """Return every likely reading of a value, since senders often declare the wrong character set.

    Parameters
    ----------
    value
        The value's bytes.
    encodings
        The declared Python encodings, as `encodings_of` returns them.
    """
    found = {decode(value, encodings)}
    if not value.isascii():
        for other in ("utf-8", "cp1250"):
            try:
                found.add(value.decode(other).strip("\0 "))
            except UnicodeDecodeError:
                continue
    return found


def undo_mojibake(text: str) -> set[str]:
    """Return the texts that `text` may be if it is UTF-8 that was read as a Latin encoding."""
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
        # Drop combining marks and invisible characters; NFC joins Hangul syllables again.
        kept = "".join(c for c in plain if unicodedata.category(c) not in UNSEEN)
        text = unicodedata.normalize("NFC", kept).translate(_KANA).translate(_HAN)
    return " ".join(_WORD.findall(text.casefold()))


def fold_spellings(text: str) -> set[str]:
    """Return a name's spellings: without diacritics, and with letters spelled out (Mueller)."""
    composed = unicodedata.normalize("NFC", text).casefold()
    spelled = fold(composed.translate(_SPELLED))
    return {fold(text), spelled, _DIGRAPHS.sub("", spelled)}
