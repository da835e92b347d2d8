"""Fold text for comparison: lower case, no diacritics, one script for each letter."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# Letters that Unicode does not decompose into a plain letter and a mark.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i",
     "Ø": "O", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "Th", "Æ": "Ae", "Œ": "Oe"}
)  # fmt: skip
# Hiragana and katakana write the same syllables.
_KATAKANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}


def _simplified() -> dict[int, str]:
    """Read the simplified forms of Chinese characters: one person is written in both."""
    lines = Path(__file__).with_name("han_variants.txt").read_text("utf-8").splitlines()
    pairs = (pair for line in lines if not line.startswith("#") for pair in line.split())
    return {ord(pair[0]): pair[1] for pair in pairs}


_SAME: dict[int, int | str] = {**_KATAKANA, **_simplified()}
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class FoldedText:
    """A folded text, with the original position of each character.

    Attributes
    ----------
    text
        The folded text.
    starts
        Position in the original of each of its characters; None when they are the same.
    length
        Length of the original.
    """

    text: str
    starts: list[int] | None = None
    length: int = 0

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of the original that a part of the folded text comes from.

        Parameters
        ----------
        start, end
            Positions in the folded text.

        Returns
        -------
        tuple of int
            Start and end in the original, marks and unseen characters included.
        """
        if self.starts is None:
            return start, end
        return self.starts[start], self.starts[end] if end < len(self.starts) else self.length


@lru_cache(maxsize=8192)
def _letter(char: str) -> str:
    plain = unicodedata.normalize("NFKD", char.translate(_PLAIN)).casefold()
    # Drop marks, the vowel signs of Thai and Hebrew among them, and invisible characters.
    kept = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Mc", "Me", "Cf"))
    # Hangul is compared by syllables: a single letter is part of too many.
    return unicodedata.normalize("NFC", kept).translate(_SAME)


def fold_with_positions(text: str, apart: bool = False) -> FoldedText:
    """Fold a text character by character, and keep the positions.

    Parameters
    ----------
    text
        The text in Unicode NFC.
    apart
        Whether a mark or invisible character behind a digit ends the number.

    Returns
    -------
    FoldedText
    """
    if text.isascii():
        return FoldedText(text.lower())
    made: list[str] = []
    starts: list[int] = []
    for at, char in enumerate(text):
        letters = _letter(char)
        if apart and not letters and made and made[-1].isdigit():
            letters = " "
        for one in letters:
            made.append(one)
            starts.append(at)
    return FoldedText("".join(made), starts, len(text))


def fold(text: str) -> str:
    """Reduce text to lower-case words without diacritics: ``NOVÁK^Jan`` to ``novak jan``."""
    return " ".join(_WORD.findall(fold_with_positions(to_nfc(text)).text))


def to_nfc(text: str) -> str:
    """Compose letters and their marks into one character each (Unicode NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def undo_mojibake(text: str) -> str | None:
    """Decode a text again that is UTF-8 but was read as Latin; None when it is no such text."""
    if text.isascii():
        return None
    for other in ("latin-1", "cp1252", "iso8859-2", "cp1250"):
        try:
            return text.encode(other).decode("utf-8")
        except UnicodeError:
            continue
    return None


def split_words(text: str) -> list[str]:
    """Return the runs of letters and digits in a text, unchanged."""
    return _WORD.findall(text)
