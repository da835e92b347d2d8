"""Find dates in texts: three neighbouring tokens, in every order. The checker's own parser."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from .text_decoding import fold

_TOKEN = re.compile(r"\d+|[^\W\d_]+|[\W_]")
# Beginnings of month names, folded, mostly of three letters; longer where languages collide.
_MONTHS = {
    beginning: number
    for number, beginnings in enumerate(
        (
            "jan led sty gen ene oca siec янв січ ιαν ינו ينا มกร tamm saus जनव",
            "feb unor lut fev fév sub velj фев лют φεβ פבר فبر กมภ helm vasa veeb फरव",
            "mar brez bre mrz mrt ozuj мар бер μαρ מרץ مار มนา maal kov मरच",
            "apr dub kwi abr avr nisa trav апр квіт απρ אפר ابر أبر เมษ huht bala अपर",
            "may mai maj mag kvet kve svib mayi мая май трав μαι מאי ماي พฤษภ touk gegu",
            "jun cerven juin giu czerwc czerwi lipnja hazi июн черв ιουν יוני يوني มถน kesak"
            " birz juun",
            "jul cervenec cervence juil lug lipiec lipca srpnja temm июл лип ιουλ יולי يولي กรกฎ"
            " hein liep juul जलई",
            "aug srpen srpna sie ago aou kolov agus авг серп αυγ אוג أغس اغس สงหาค elok rugp अगस",
            "sep zari set wrz ruj eyl сен вер σεπ ספט سبت กนยา syysk rugs सतब",
            "oct okt rij rijen ott out paz eki окт жовт οκτ אוק أكت اكت ตลาค loka spal अकट",
            "nov lis list studen kasi ноя лист νοε נוב نوف พฤศ marr lapk नवब",
            "dec dez pros gru dic des prosi aral дек груд δεκ דצמ ديس ธนวา joul gruod दसब",
        ),
        1,
    )
    for beginning in beginnings.split()
}  # fmt: skip
_NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_ROMAN = {name: number for number, name in enumerate(_NUMERALS, 1)}
_ERAS = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
# Separators between the parts of a date. A colon is not one: it belongs to times.
_BETWEEN = frozenset(" .-/_,'’‐‑‒–—−年~")
_SIGNS = frozenset("./-‐‑‒–—−")
# Words between the parts: counters after numbers, and prepositions beside a month's name.
_COUNTED = frozenset(("年", "月", "년", "월", "thang", "nam"))
_OF = frozenset(("de", "of"))
_ISO_WEEK = re.compile(r"(?<!\d)(\d{4})-?[Ww](\d\d)-?([1-7])(?!\d)")
# Eight digits set apart from each other.
_SPACED = re.compile(r"(?<![\w.,])(?:\d[ _-]){7}\d(?![ _-]?\d)(?![.,]\d)")
# Months and days in Chinese numerals: 三月十日.
_NUMERAL = re.compile(r"(?<=[年月])([一二三四五六七八九]?)(十?)([一二三四五六七八九]?)(?=[月日])")
_DIGITS = "〇一二三四五六七八九"
_BIRTHDAYS = 543  # years by which the Thai Buddhist calendar is ahead


def find_dates(text: str) -> Iterator[str]:
    """Yield the whole dates that a text may contain, as ``YYYYMMDD``, in every reading.

    1/2/24 has several. A year of two digits is taken from this century and from the last.
    """
    plain = unicodedata.normalize("NFKC", text)
    if sum(char.isdigit() for char in plain) < 3:
        return
    for year, week, day in _ISO_WEEK.findall(plain):
        try:
            yield f"{date.fromisocalendar(int(year), int(week), int(day)):%Y%m%d}"
        except ValueError:
            continue
    for digits in _SPACED.findall(plain):
        yield from _glued(re.sub(r"\D", "", digits))
    plain = _NUMERAL.sub(_numeral, plain)
    tokens: list[tuple[str, str]] = []  # the separator in front, and the token
    between = ""
    for token in _TOKEN.findall(plain):
        if not token[0].isalnum():
            between += token
            continue
        word = token if token.isdigit() else fold(token)
        if tokens and (word in _COUNTED or word in _OF):
            between = between.strip() + ("年" if word in _COUNTED else "~")
            continue
        if word.isdigit() and tokens and not between and tokens[-1][1] in _ERAS:
            word = str(_ERAS[tokens[-1][1]] + int(word)) if len(word) <= 2 else word
        tokens.append((between, word))
        between = ""
        yield from _glued(word)
        if len(tokens) >= 3:
            yield from _three(tokens[-3:])


def _numeral(match: re.Match[str]) -> str:
    tens, ten, ones = match.groups()
    if not ten:
        return str(_DIGITS.index(tens or ones)) if tens or ones else match[0]
    return str(10 * (_DIGITS.index(tens) if tens else 1) + (_DIGITS.index(ones) if ones else 0))


def _glued(word: str) -> Iterator[str]:
    if not word.isdigit() or len(word) < 8:
        return
    for size in (8, 10, 12, 14):
        if len(word) == size:
            for year, month, day in (
                (word[:4], word[4:6], word[6:8]),
                (word[4:8], word[2:4], word[:2]),
            ):
                yield from _written(year, int(month), int(day))


def _three(tokens: list[tuple[str, str]]) -> Iterator[str]:
    (_, a), (first, b), (second, c) = tokens
    if not all(len(gap) <= 2 and _BETWEEN.issuperset(gap) for gap in (first, second)):
        return
    words = (a, b, c)
    numbers = [word.isdigit() for word in words]
    if all(numbers):
        short = max(map(len, words)) < 4
        if not first or not second or "~" in first + second:
            return
        if short and not (_SIGNS.intersection(first) and _SIGNS.intersection(second)):
            return
        for year, month, day in ((c, b, a), (c, a, b), (a, b, c), (a, c, b)):
            if len(month) <= 2 and len(day) <= 2:
                yield from _written(year, int(month), int(day))
    elif numbers == [True, False, True]:
        number = _month(b, bool(_SIGNS.intersection(first) and _SIGNS.intersection(second)))
        for year, day in ((c, a), (a, c)):
            if number and len(day) <= 2 and (len(year) == 4 or (year, day) == (c, a)):
                yield from _written(year, number, int(day))
    elif numbers == [False, True, True] and len(b) <= 2 and len(c) == 4:
        number = _month(a, False)
        if number:
            yield from _written(c, number, int(b))


def _month(word: str, dotted: bool) -> int:
    if word in _ROMAN:
        return _ROMAN[word] if dotted else 0
    return _beginning(word)


@lru_cache(maxsize=4096)
def _beginning(word: str) -> int:
    return next(
        (_MONTHS[word[:size]] for size in range(len(word), 2, -1) if word[:size] in _MONTHS), 0
    )


def _written(year: str, month: int, day: int) -> Iterator[str]:
    if len(year) == 4:
        years = [int(year), int(year) - _BIRTHDAYS]
    elif len(year) == 2:
        years = [1900 + int(year), 2000 + int(year)]
    else:
        return
    for number in years:
        try:
            yield f"{date(number, month, day):%Y%m%d}"
        except ValueError:
            continue
