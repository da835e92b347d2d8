"""Find dates in free text, however they are written, and write shifted ones in the same form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from .month_names import MONTHS, MONTHS_BY_PREFIX, ROMAN, rewrite_month
from .text_folding import fold_with_positions

_NAME = r"(?P<name>[^\W\d_]{1,24})"
_SEP = r"[\W_]{0,3}"
_OF = rf"(?:{_SEP}(?:de|del|di|of|d)\b)?"
_DAY = r"(?P<d>\d{1,2})(?:st|nd|rd|th|er|º|ª)?"
_YEAR = r"(?P<y>\d{4}|\d{2})(?!\d)"
# Three numbers, any of which may be the year.
_BETWEEN = r"(?:[\W_]|[年月년월]|thang|nam){1,5}"
_NUMBERS = re.compile(
    rf"(?<!\d)(?P<a>\d{{4}}|\d{{1,2}})(?P<s>{_BETWEEN})(?P<b>\d{{1,2}})(?P<t>{_BETWEEN})"
    r"(?P<c>\d{4}|\d{1,2})(?!\d)"
)
_NAMED = (
    re.compile(rf"(?<!\d){_DAY}{_OF}{_SEP}{_NAME}{_OF}{_SEP}{_YEAR}"),
    re.compile(rf"(?<!\d)(?P<y>\d{{4}}|\d{{2}}){_SEP}{_NAME}{_SEP}{_DAY}(?!\d)"),
    re.compile(rf"(?<![^\W\d_]){_NAME}{_SEP}{_DAY}{_SEP}{_YEAR}"),
)
_RUN = re.compile(r"(?<!\d)(?P<run>\d{8}|\d{6})(?P<time>(?:\d{2}){0,3})(?!\d)")
# Digits set apart, as OCR and some consoles write them: 1 9 8 0 0 1 0 5.
_APART = re.compile(r"(?<![\w.,])\d(?:(?P<gap>[ _-])\d){5,7}(?![ _-]?\d)(?![.,]\d)")
_ERA = re.compile(
    r"(?P<era>明治|大正|昭和|平成|令和|(?<![^\W_])[mtshr])[ .]?(?P<y>\d{1,2}|元)"
    rf"{_BETWEEN}(?P<m>\d{{1,2}}){_BETWEEN}(?P<d>\d{{1,2}})日?"
)
_ERAS = {
    "明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018,
    "m": 1867, "t": 1911, "s": 1925, "h": 1988, "r": 2018,
}  # fmt: skip
_KANJI = re.compile(
    r"(?:[〇零一二三四五六七八九]{4}|\d{4})年[一二三四五六七八九十]{1,3}月[一二三四五六七八九十]{1,3}日?"
)
# Words for year and month between numbers.
_UNITS = ("年", "月", "년", "월", "thang", "nam")
# Separators in a date that is not one of the known days.
_SEPARATORS = frozenset("./-_:") | {"word"}
_CONTINUES = re.compile(r"[.,/]\d|:\d")
_CONTINUED = re.compile(r"\d[.,/-]$|/$")
_CONTEXT = 24
_NUMBER = re.compile(r"\d|年")
_DASHES = "-‐‑‒–—−"
_WEEK = r"(?:w|kw|cw|wk|week|woche|tyden|tydne|tydzien|semaine|semana|settimana|uge|vecka)"
_QUARTER = r"(?:q|qtr|quarter|quartal|kvartal|kwartal|ctvrtleti|stvrtrok|trimestre)"
# Parts of a known day: month and year, day and month, year and day of the year.
_PARTS = (
    re.compile(r"(?<![\d./-])(?P<m>0[1-9]|1[0-2])[./-](?P<y>\d{4})(?![\d./-]*\d)"),
    re.compile(r"(?<![\d./-])(?P<m>[1-9])/(?P<y>\d{4})(?![\d./-]*\d)"),
    re.compile(r"(?<![\d./-])(?P<y>\d{4})[./-](?P<m>0[1-9]|1[0-2])(?![\d./-]*\d)"),
    re.compile(rf"(?<![^\W\d_]){_NAME}{_SEP}(?P<y>\d{{4}})(?!\d)"),
    re.compile(
        rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th|er)?\.?{_OF}{_SEP}(?P<name>[^\W\d_]{{3,24}})"
    ),
    re.compile(
        r"(?<![^\W\d_])(?P<name>[^\W\d_]{3,24})[ .]{0,2}(?P<d>\d{1,2})(?:st|nd|rd|th)?(?![\d.:])"
    ),
    re.compile(r"(?<![\w./-])(?P<d>\d{1,2})\. ?(?P<m>\d{1,2})\.(?! ?\d)"),
    re.compile(r"(?<!\d)(?P<y>\d{4})[-/. ]?(?P<n>[0-3]\d\d)(?!\d)"),
    # Weeks (ISO 8601): 2024-W10-7, KW 10/2024, 10. Woche 2024.
    re.compile(rf"(?<!\d)(?P<y>\d{{4}})[-/. ]?{_WEEK}[-. ]{{0,2}}(?P<w>\d\d?)(?:-?[1-7])?(?!\d)"),
    re.compile(rf"(?<![^\W_]){_WEEK}[-. ]{{0,2}}(?P<w>\d\d?)[-/. ]{{1,2}}(?P<y>\d{{4}})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<w>\d\d?)[-. ]{{0,2}}{_WEEK}[-/. ]{{0,2}}(?P<y>\d{{4}})(?!\d)"),
    # Quarters: 2024-Q1, Q1/2024, 1Q2024, 1. Quartal 2024.
    re.compile(rf"(?<!\d)(?P<y>\d{{4}})[-/. ]{{0,2}}{_QUARTER}[-. ]{{0,2}}(?P<q>[1-4])(?!\d)"),
    re.compile(rf"(?<![^\W_]){_QUARTER}[-. ]{{0,2}}(?P<q>[1-4])[-/. ]{{1,2}}(?P<y>\d{{4}})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<q>[1-4])[-. ]{{0,2}}{_QUARTER}[-/. ]{{0,2}}(?P<y>\d{{4}})(?!\d)"),
)
# Words before a date written with few digits; words before a version that looks like one.
_BEFORE_DATE = re.compile(
    r"(?:\*|\b(?:nar|naroz|narozen|narozena|dne|dat|datum|date|dated|dob|born|geb|geboren|am|vom|"
    r"od|ze|z|on|from|of|vs|prev|prior|since|seit|ur|urodzony|urodzona|ne|nee|le|du|nato|nata|el|"
    r"fecha|exam|study|scan|fu|follow up|kontrola|op)\b)[ .:]*$"
)
_VERSION = re.compile(
    r"(?:\b(?:v|ver|vers|version|verze|sw|software|release|rel|rev|build|vb|ve|va|syngo)[ .:]*)$"
)
_UNIT_BEHIND = re.compile(r" ?(?:mm|cm|ms|mg|ml|kg|%|x\d|x \d|mhz|hz|mt|m?gy|kv|ma)")
# Abbreviations of months that are seldom anything else.
_SHORT_MONTHS = frozenset(
    ("jan", "feb", "mar", "apr", "may", "mai", "maj", "mei", "jun", "jul", "aug", "sep", "okt",
     "oct", "nov", "dec", "dez", "dic", "kve", "cvn", "cvc", "rij")
)  # fmt: skip
_Span = Callable[[int, int], tuple[int, int]]
# Start and end in the folded text, possible days, form.
_Found = Iterator[tuple[int, int, list[date], str]]
_CENTURY, _FIRST, _LAST = 100, 1850, 2099
# A year of two digits above this is of the last century, unless the day is a known one.
_PIVOT = 40


@dataclass(frozen=True)
class WrittenDate:
    """A date in a text.

    Attributes
    ----------
    start, end
        Where it is.
    days
        The days that it may mean.
    form
        How it is written, for `write_date`; empty when its meaning is uncertain.
    """

    start: int
    end: int
    days: frozenset[date]
    form: str = ""


def find_dates(text: str, known: frozenset[str] = frozenset()) -> Iterator[WrittenDate]:
    """Find the dates in a text.

    Parameters
    ----------
    text
        The text in Unicode NFC.
    known
        Days, as YYYYMMDD, that the text is likely to mention. Three numbers that may also be a
        version or a size are a date if they give one of these, and of two readings the known day
        is the right one.

    Returns
    -------
    iterator of WrittenDate

    Notes
    -----
    In 3/4/2020 the first number is the month, unless only the other order gives a valid date.
    """
    if _NUMBER.search(text) is None:
        return iter(())
    flat = fold_with_positions(text, apart=True)
    found: list[WrittenDate] = []
    for finder in (_find_named, _find_eras, _find_numeric, _find_runs):
        for start, end, days, form in finder(text, flat.text, flat.span, known):
            if not days:
                continue
            made = WrittenDate(*flat.span(start, end), frozenset(days), form)
            others = [one for one in found if made.start < one.end and one.start < made.end]
            if others and any(f"{day:%Y%m%d}" in known for day in days):
                # Two readings share a number. Both become one date of uncertain meaning.
                found = [one for one in found if one not in others]
                made = _merge_overlapping([made, *others])
            elif others:
                continue
            found.append(made)
    for start, end, day in _parts_of_days(flat.text, known):
        first, last = flat.span(start, end)
        if not any(first < one.end and one.start < last for one in found):
            found.append(WrittenDate(first, last, frozenset((day,))))
    return iter(found)


def _parts_of_days(flat: str, known: frozenset[str]) -> Iterator[tuple[int, int, date]]:
    """Find month and year, day and month, week, or day of the year of a known day.

    Beside the shifted date they would tell the shift; of a birth date they tell the age in months.
    """
    days = [date(int(day[:4]), int(day[4:6]), int(day[6:8])) for day in known if _is_day(day)]
    if not days:
        return
    for pattern in _PARTS:
        for match in pattern.finditer(flat):
            part = match.groupdict()
            name = part.get("name")
            months = MONTHS.get(name, set()) if name else {int(part.get("m") or 0)}
            for day in days:
                if part.get("w"):
                    if day.isocalendar()[:2] == (int(part["y"]), int(part["w"])):
                        yield match.start(), match.end(), day
                        break
                    continue
                if part.get("q"):
                    same = (day.month + 2) // 3 == int(part["q"])
                elif part.get("n"):
                    same = day.timetuple().tm_yday == int(part["n"])
                else:
                    same = day.month in months and int(part.get("d") or day.day) == day.day
                if same and int(part.get("y") or day.year) == day.year:
                    yield match.start(), match.end(), day
                    break


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return True


def _merge_overlapping(dates: list[WrittenDate]) -> WrittenDate:
    if len({(one.start, one.end, one.days) for one in dates}) == 1:
        return dates[-1]
    start, end = min(one.start for one in dates), max(one.end for one in dates)
    return WrittenDate(start, end, frozenset(day for one in dates for day in one.days))


def write_date(day: date, form: str) -> str:
    """Write a day in the form of another date.

    Parameters
    ----------
    day
        The day.
    form
        `WrittenDate.form` of the other date.

    Returns
    -------
    str
    """
    return re.sub(
        "\0([^\0]*)\0",
        lambda match: _write_part(match[1], day),
        form,
    )


def _write_part(what: str, day: date) -> str:
    kind, shape = what[0], what[1:]
    if kind == "N":
        return rewrite_month(shape, day.month)
    number = {"d": day.day, "m": day.month, "y": day.year, "Y": day.year % _CENTURY}[kind]
    return f"{number:0{int(shape or 1)}d}"


def _make_date(year: int, month: int, day: int) -> date | None:
    if 2400 <= year <= 2700:
        year -= 543  # Buddhist calendar
    if not _FIRST <= year <= _LAST:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _possible_dates(year: str, month: int, day: int) -> list[date]:
    """Return the possible dates; a year of two digits is of this century or of the last."""
    if len(year) == 4:
        years = [int(year)]
    elif len(year) == 2:
        years = [1900 + int(year), 2000 + int(year)]
    else:
        return []
    return [found for y in years if (found := _make_date(y, month, day)) is not None]


def _select_likely(days: list[date], known: frozenset[str]) -> list[date]:
    """Choose between two centuries: a known day, or the year that is not in the future."""
    if there := [day for day in days if f"{day:%Y%m%d}" in known]:
        return there
    if len({day.year for day in days}) < 2:
        return days
    return [day for day in days if (day.year >= 2000) == (day.year % _CENTURY <= _PIVOT)]


def _form(text: str, start: int, end: int, parts: list[tuple[int, int, str]]) -> str:
    """Return the form of a date: its text with placeholders for day, month and year."""
    form, at = "", start
    for first, last, what in sorted(parts):
        form += text[at:first] + f"\0{what}\0"
        at = last
    return form + text[at:end]


def _find_named(text: str, flat: str, span: _Span, known: frozenset[str]) -> _Found:
    for number, pattern in enumerate(_NAMED):
        for match in _overlapping_matches(pattern, flat):
            name = match["name"]
            months = MONTHS.get(name) or MONTHS_BY_PREFIX.get(name[:3], set())
            months = months or _months_beginning(name)
            year, day = match["y"], int(match["d"])
            days = [d for m in months for d in _possible_dates(year, m, day)]
            sure = any(f"{d:%Y%m%d}" in known for d in days)
            if name in ROMAN and not _is_roman_month(match, flat, sure):
                continue
            if not sure and name not in MONTHS:
                continue
            # A year of two digits may be the hour: 4 May 10:15.
            doubtful = number or not _is_certain_month(name) or _CONTINUES.match(flat, match.end())
            if len(year) == 2 and not sure and doubtful:
                continue
            days = _select_likely(days, known)
            parts = [
                (*span(*match.span("d")), _day_shape(match["d"], flat[match.end("d") :])),
                (*span(*match.span("y")), "y4" if len(year) == 4 else "Y2"),
            ]
            first, last = span(*match.span("name"))
            shape = text[first:last]
            if name == "may" and not number:
                # "May" is both: behind the day the abbreviation, in front of it the full name.
                shape = "JUN" if shape.isupper() else "Jun" if shape[0].isupper() else "jun"
            parts.append((first, last, "N" + shape))
            plain = len(days) == 1 and name in MONTHS and not 2400 <= int(year) <= 2700
            begin, stop = span(*match.span())
            form = _form(text, begin, stop, parts) if plain else ""
            yield match.start(), match.end(), days, form


def _day_shape(day: str, after: str) -> str:
    """Return the form of a day: two digits in 10MAY, one or two in 10. May."""
    return "d2" if len(day) == 2 and (day[0] == "0" or not after.startswith(". ")) else "d"


def _overlapping_matches(pattern: re.Pattern[str], flat: str) -> Iterator[re.Match[str]]:
    """Yield all matches, also overlapping ones: the first may turn out to be no date."""
    at = 0
    while (match := pattern.search(flat, at)) is not None:
        yield match
        at = match.start() + 1


def _is_certain_month(name: str) -> bool:
    return name in ROMAN or name in _SHORT_MONTHS or len(name) > 3


def _months_beginning(name: str) -> set[int]:
    """Return the months whose names begin with two letters."""
    if len(name) != 2:
        return set()
    return {month for whole, months in MONTHS.items() if whole[:2] == name for month in months}


def _is_roman_month(match: re.Match[str], flat: str, sure: bool) -> bool:
    """Return whether Roman numerals are a month; 5 x 20 mm is none."""
    if sure and match["name"] != "x":
        return True
    between = flat[match.start() : match.end()].replace(match["name"], "", 1)
    dotted = any(sign in between for sign in "./" + _DASHES)
    return dotted or (len(match["y"]) == 4 and match["name"] != "x" and " " in between)


def _find_eras(text: str, flat: str, span: _Span, known: frozenset[str]) -> _Found:
    for match in _overlapping_matches(_ERA, flat):
        year = _ERAS[match["era"]] + (1 if match["y"] == "元" else int(match["y"]))
        day = _make_date(year, int(match["m"]), int(match["d"]))
        if day and (len(match["era"]) == 2 or f"{day:%Y%m%d}" in known):
            yield match.start(), match.end(), [day], ""
    for match in _KANJI.finditer(flat):
        # The day does not matter: a date in Chinese numerals is always removed.
        yield match.start(), match.end(), [date.min], ""


def _find_runs(text: str, flat: str, span: _Span, known: frozenset[str]) -> _Found:
    for match in [*_RUN.finditer(flat), *_APART.finditer(flat)]:
        apart = match.re is _APART
        run = re.sub(r"\D", "", match[0]) if apart else match["run"]
        time = "" if apart else match["time"]
        if len(run) not in (6, 8):
            continue
        if len(run) == 8:
            orders = [("ymd", run[:4], run[4:6], run[6:]), ("dmy", run[4:], run[2:4], run[:2]),
                      ("mdy", run[4:], run[:2], run[2:4])]  # fmt: skip
        else:
            orders = [("ymd", run[:2], run[2:4], run[4:]), ("dmy", run[4:], run[2:4], run[:2]),
                      ("mdy", run[4:], run[:2], run[2:4])]  # fmt: skip
        readings = [(o, d) for o, y, m, d_ in orders for d in _possible_dates(y, int(m), int(d_))]
        sure = [(o, d) for o, d in readings if f"{d:%Y%m%d}" in known]
        if not sure:
            readings = [(o, d) for o, d in readings if o == "ymd" and len(run) == 8]
            readings = [(o, d) for o, d in readings if 1900 <= d.year <= _LAST]
        chosen = sure or readings
        if not chosen or (time and not sure):
            continue
        days = [day for _, day in chosen]
        plain = len({*chosen}) == 1 and chosen[0][0] == "ymd" and len(run) == 8 and not time
        plain = plain and not apart
        yield match.start(), match.end(), days, "\0y4\0\0m2\0\0d2\0" if plain else ""


def _find_numeric(text: str, flat: str, span: _Span, known: frozenset[str]) -> _Found:
    at = 0
    while (match := _NUMBERS.search(flat, at)) is not None:
        at = match.end("a")
        if ":" in match["s"] + match["t"] and len(match["a"]) + len(match["c"]) < 5:
            continue  # a time of day
        readings = _numeric_readings(match, known)
        sure = [(order, day) for order, day in readings if f"{day:%Y%m%d}" in known]
        if not sure:
            readings = _plausible_readings(match, flat, readings)
        chosen = sure or readings
        if not chosen:
            continue
        form = ""
        # Three numbers with unusual separators may be no date: remove them, do not shift them.
        if len({*chosen}) == 1 and _separator(match["s"]) in _SEPARATORS:
            form = _numeric_form(text, match, span, chosen[0][0])
        days = [day for _, day in chosen]
        # In 1961年5月4日, the last character belongs to the date.
        end = match.end() + (flat[match.end() : match.end() + 1] in tuple("日일"))
        if form and end > match.end():
            form += text[span(match.end(), end)[0] : span(match.end(), end)[1]]
        yield match.start(), end, days, form


def _numeric_readings(match: re.Match[str], known: frozenset[str]) -> list[tuple[str, date]]:
    a, b, c = match["a"], match["b"], match["c"]
    found: list[tuple[str, date]] = []
    for order, (y, m, d) in {
        "dmy": (c, b, a), "mdy": (c, a, b), "ymd": (a, b, c), "ydm": (a, c, b)
    }.items():  # fmt: skip
        if len(m) <= 2 and len(d) <= 2:
            found += [
                (order, day) for day in _select_likely(_possible_dates(y, int(m), int(d)), known)
            ]
    return found


def _plausible_readings(
    match: re.Match[str], flat: str, readings: list[tuple[str, date]]
) -> list[tuple[str, date]]:
    """Return the readings of three numbers that are plausible though the day is not known."""
    a, b, c, s, t = match["a"], match["b"], match["c"], match["s"], match["t"]
    before = flat[max(0, match.start() - _CONTEXT) : match.start()]
    after = flat[match.end() : match.end() + _CONTEXT]
    sign = _separator(s)
    if (
        sign != _separator(t)
        or sign not in _SEPARATORS
        or _CONTINUES.match(after)
        or _CONTINUED.search(before)
    ):
        return []
    if len(a) == 4 or len(c) == 4:
        year = int(a if len(a) == 4 else c)
        if not (1900 <= year <= _LAST or 2400 <= year <= 2700):
            return []
        # With slashes the month comes first, unless that gives no valid date.
        orders = ("ymd",) if len(a) == 4 else ("mdy", "dmy") if sign == "/" else ("dmy",)
        for order in orders:
            if there := [(o, day) for o, day in readings if o == order]:
                return there
        return []
    if _VERSION.search(before) or _UNIT_BEHIND.match(after) or len(s) > 2 or before[-1:].isalnum():
        return []
    dated = _BEFORE_DATE.search(before) is not None
    padded = len(a) == len(b) == len(c) == 2
    if sign == "." and (dated or padded or (s == t == ". ")):
        wanted = {"dmy", "ymd"} if padded else {"dmy"}
    elif sign == "/":
        wanted = {"dmy", "mdy", "ymd"} if padded else {"dmy", "mdy"}
    elif sign in ("-", "_") and (dated or padded):
        wanted = {"dmy", "ymd"} if padded else {"dmy"}
    else:
        return []
    return [(order, day) for order, day in readings if order in wanted]


def _separator(between: str) -> str:
    """Return the kind of separator between two numbers: a sign, a blank, or ``word``."""
    if any(word in between for word in _UNITS):
        return "word"
    stripped = between.strip()
    if stripped and stripped[0] in _DASHES:
        return "-"
    return stripped or " "


def _numeric_form(text: str, match: re.Match[str], span: _Span, order: str) -> str:
    if any(len(number) == 4 and int(number) >= 2400 for number in match.group("a", "c")):
        return ""
    by = dict(zip(order, "abc", strict=True))
    d, m, y = (match[by[k]] for k in "dmy")
    # 3. 4. 2020 is written without zeros, 03.04.2020 with them; in 13. 12. 2020 the spaces tell.
    padded = len(d) == len(m) == 2 and ("0" in (d[0], m[0]) or ". " not in match[0])
    two = "2" if padded else ""
    parts = [
        (*span(*match.span(by["d"])), "d" + two),
        (*span(*match.span(by["m"])), "m" + two),
        (*span(*match.span(by["y"])), "y4" if len(y) == 4 else "Y2"),
    ]
    return _form(text, *span(*match.span()), parts)
