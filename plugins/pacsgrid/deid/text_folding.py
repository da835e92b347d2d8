"""Text as it is compared: lower case, no diacritics, one script for each letter."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# Letters that Unicode does not take apart into a plain one and a mark.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i",
     "Ø": "O", "Ł": "L", "Đ": "D", "Ð": "D", "Þ": "Th", "Æ": "Ae", "Œ": "Oe"}
)  # fmt: skip
# Hiragana and katakana write the same syllables.
_KATAKANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class FoldedText:
    """A text as it is compared, and where each of its characters stood.

    ``starts`` gives the place in the original of each character of ``text``, None where nothing
    moved; ``length`` is the original's.
    """

    text: str
    starts: list[int] | None = None
    length: int = 0

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a part of the folded text stands in the original, marks included."""
        if self.starts is None:
            return start, end
        return self.starts[start], self.starts[end] if end < len(self.starts) else self.length


@lru_cache(maxsize=8192)
def _letter(char: str) -> str:
    plain = unicodedata.normalize("NFKD", char.translate(_PLAIN)).casefold()
    # Marks, vowel signs of Thai and Hebrew among them, and characters that nobody sees.
    kept = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Mc", "Me", "Cf"))
    # Hangul is compared by syllables: a letter of one is in too many others.
    return unicodedata.normalize("NFC", kept).translate(_KATAKANA)


def fold_with_positions(text: str, apart: bool = False) -> FoldedText:
    """Fold a text in NFC character by character.

    Parameters
    ----------
    apart
        Whether a mark or unseen character behind a digit ends the number.
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
    """Return the text with each letter and its marks as one character (Unicode NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def undo_mojibake(text: str) -> str | None:
    """Return what a text says that is UTF-8 and was read as Latin, None when it is not."""
    if text.isascii():
        return None
    for other in ("latin-1", "cp1252", "iso8859-2", "cp1250"):
        try:
            return text.encode(other).decode("utf-8")
        except UnicodeError:
            continue
    return None


def split_words(text: str) -> list[str]:
    """Return the runs of letters and digits in a text, as they stand."""
    return _WORD.findall(text)
