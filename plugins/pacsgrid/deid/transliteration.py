"""Transliterate Cyrillic and Greek names, in the ways that devices and people do."""

from __future__ import annotations

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
