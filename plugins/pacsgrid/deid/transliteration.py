"""Transliterate Cyrillic, Greek and Japanese names, in the ways that devices and people do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator


def _pairs(letters: str, written: str) -> dict[str, str]:
    return dict(zip(letters, written.split(), strict=True))


_CYRILLIC = _pairs("абвгґдеєзиіїклмнопрстуфыэ", "a b v g g d e e z i i i k l m n o p r s t u f y e")
_GREEK = _pairs("αβγδεζηθικλμνξοπρσςτυφχψω", "a v g d e z i th i k l m n x o p r s s t y f ch ps o")
_PLAIN = {**_CYRILLIC, **_GREEK, "ё": "e", "ъ": "", "ь": ""}
_WITHOUT_MARKS = str.maketrans("άέήίόύώϊϋΐΰ", "αεηιουωιυιυ")
# English, Slavonic and passport transliteration of the letters in which they differ.
_WAYS = tuple(
    str.maketrans({**_PLAIN, **_pairs("жйхцчшщюя", letters)})
    for letters in (
        "zh y kh ts ch sh shch yu ya",
        "zh y kh c ch sh sch yu ya",
        "z j ch c c s sc ju ja",
        "zh i kh ts ch sh shch iu ia",
        "sch j ch z tsch sch schtsch ju ja",
        "z j h c c s st u a",
    )
)


def romanise(name: str) -> Iterator[str]:
    """Yield the transliterations of a lower-case name; none of a name in Latin letters."""
    if not any("α" <= char <= "ω" or "ά" <= char <= "ώ" or "а" <= char <= "ґ" for char in name):
        return
    plain = name.translate(_WITHOUT_MARKS).replace("ου", "ou")
    found: dict[str, None] = {}
    for way in _WAYS:
        written = plain.translate(way)
        found[written] = None
        # Maria as well as Mariya, Georgii as Georgy.
        found[written.replace("iya", "ia").replace("ija", "ia").replace("yy", "y")] = None
    found[plain.replace("ου", "u").translate(_WAYS[0]).replace("γγ", "ng")] = None
    yield from found


# Katakana in rows of five vowels, and the letters in front of the vowels; ー lengthens a vowel.
_ROWS = (
    ("アイウエオ", ""), ("カキクケコ", "k"), ("ガギグゲゴ", "g"), ("サシスセソ", "s"),
    ("ザジズゼゾ", "z"), ("タチツテト", "t"), ("ダヂヅデド", "z"), ("ナニヌネノ", "n"),
    ("ハヒフヘホ", "h"), ("バビブベボ", "b"), ("パピプペポ", "p"), ("マミムメモ", "m"),
    ("ラリルレロ", "r"),
)  # fmt: skip
_KANA = {
    kana: first + vowel for row, first in _ROWS for kana, vowel in zip(row, "aiueo", strict=True)
}
_KANA |= {"ダ": "da", "デ": "de", "ド": "do", "ヤ": "ya", "ユ": "yu", "ヨ": "yo", "ワ": "wa",
          "ヲ": "o", "ン": "n", "ヴ": "bu", "ー": "", "ッ": "",
          "ャ": "\0ya", "ュ": "\0yu", "ョ": "\0yo",
          "ァ": "\1a", "ィ": "\1i", "ゥ": "\1u", "ェ": "\1e", "ォ": "\1o"}  # fmt: skip
_TO_KATAKANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_SAME_SYLLABLES = (
    ("shi", "si"), ("chi", "ti"), ("tsu", "tu"), ("fu", "hu"), ("ji", "zi"), ("sh", "sy"),
    ("ch", "ty"), ("j", "zy"), ("v", "b"), ("mb", "nb"), ("mp", "np"), ("ou", "o"), ("oh", "o"),
)  # fmt: skip


def syllables_of_kana(kana: str) -> str:
    """Write kana in Latin letters, reduced as `plain_syllables` reduces a name."""
    full = unicodedata.normalize("NFKC", kana).translate(_TO_KATAKANA)
    letters = "".join(_KANA.get(sign, " ") for sign in full)
    return plain_syllables(re.sub("i\0|[aiueo]\1", "", letters))


def plain_syllables(word: str) -> str:
    """Reduce a Japanese name in Latin letters to what its ways of writing share.

    Long vowels and doubled consonants are written or not; Hepburn writes ``shi``, others ``si``.
    """
    for written, same in _SAME_SYLLABLES:
        word = word.replace(written, same)
    return re.sub(r"([a-z])\1+", r"\1", word)
