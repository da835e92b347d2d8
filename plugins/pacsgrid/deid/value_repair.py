"""Repair values that break the rules of their VR but have one meaning (PS3.5 6.2).

Devices and converters write a decimal comma, units behind numbers, dates and times as their users
read them. A value that can be read in one way is rewritten as the standard asks for. A value that
can be read in several ways, or in none, is reported as None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from .date_shift import month_number

_PADDING = " \0\t\r\n"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Placeholders for a missing value, or for one that an earlier anonymisation removed.
_NOTHING = (
    r"[-?*#._x]+|n\.?/?a\.?|none|null|nil|unknown|undefined|unspecified|invalid|empty|missing|blank"
    r"|removed|withheld|deleted|anon(ymous|ymi[sz]ed)?|de-?identified"
)
_NO_VALUE = re.compile(_NOTHING, re.I)
# What programs print in place of a number. It identifies nobody, and stays as it is.
_NO_NUMBER = re.compile(
    r"[+-]?(nan(\(ind\))?|inf(inity)?|1\.#(ind|qnan|snan|inf|j)0*)"
    rf"|{_NOTHING}",
    re.I,
)
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d*)([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_GROUPED = (
    (re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+|[+-]?\d{1,3}(,\d{3}){2,}", re.ASCII), ",", ""),
    (re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+|[+-]?\d{1,3}(\.\d{3}){2,}", re.ASCII), ".", ","),
    # With more groups and no fraction it may be a telephone number.
    (re.compile(r"[+-]?\d{1,3}(['’ ]\d{3}|(['’ ]\d{3})+[.,]\d+)", re.ASCII), "'’ ", ","),
)
# Signs and blanks of other character sets, also as their bytes are read without a character set.
_ODD = {"\u2212": "-", "â\x88\x92": "-", "\u2013": "-", "\xa0": " ", "Â\xa0": " ", " ": " "}
_UNITS = {
    "mm": "PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing SliceThickness SliceLocation "
    "SpacingBetweenSlices ImagePositionPatient ReconstructionDiameter DataCollectionDiameter "
    "DistanceSourceToDetector DistanceSourceToPatient TableHeight GridFrameOffsetVector "
    "ContourData IsocenterPosition FocalSpots CollimatorGridName",
    "ms": "RepetitionTime EchoTime InversionTime TriggerTime FrameTime ActualFrameDuration "
    "ExposureTime FrameReferenceTime CardiacRRIntervalSpecified",
    "kg": "PatientWeight",
    "m": "PatientSize",
    "kV": "KVP",
    "kVp": "KVP",
    "T": "MagneticFieldStrength",
    "MHz": "ImagingFrequency",
    "Bq": "RadionuclideTotalDose",
    "s": "RadionuclideHalfLife",
    "ml": "RadiopharmaceuticalVolume ContrastBolusVolume",
    "mL": "RadiopharmaceuticalVolume ContrastBolusVolume",
    "mA": "XRayTubeCurrent",
    "mAs": "Exposure",
    "deg": "FlipAngle GantryDetectorTilt",
    "°": "FlipAngle GantryDetectorTilt",
    "Gy": "DoseGridScaling",
}
_UNIT_OF: dict[int, list[str]] = {}
for _unit, _keywords in _UNITS.items():
    for _keyword in _keywords.split():
        if (_tag := tag_for_keyword(_keyword)) is not None:
            _UNIT_OF.setdefault(_tag, []).append(_unit)


def repair_numbers(values: Sequence[str], tag: int) -> list[str] | None:
    """Repair the values of a DS or IS.

    Placeholders (NaN, N/A) and numbers with two readings (1,250) stay as they are. A decimal comma
    in one value decides how the others of the same element are read.

    Parameters
    ----------
    values
        The values.
    tag
        The element; tells which unit may follow a number.

    Returns
    -------
    list of str or None
        None when one of the values is no number.
    """
    plain = [_bare(value, tag) for value in values]
    comma = any(_DECIMAL_COMMA.fullmatch(one) and not _THOUSANDS.fullmatch(one) for one in plain)
    read = [_number(one, comma) for one in plain]
    return None if None in read else [one for one in read if one is not None]


def _bare(value: str, tag: int) -> str:
    text = value
    for odd, usual in _ODD.items():
        text = text.replace(odd, usual)
    text = re.sub(r"^([+-])\s+(?=[.,]?\d)", r"\1", text.strip(_PADDING))
    for unit in _UNIT_OF.get(tag, ()):
        front = text[: -len(unit)]
        if text.lower().endswith(unit.lower()) and re.search(r"\d[.,]?\s*$", front):
            return front.strip(_PADDING)
    return text


def _number(text: str, comma: bool) -> str | None:
    if not text or _NUMBER.fullmatch(text) or _NO_NUMBER.fullmatch(text):
        return text
    if re.fullmatch(r"[+-]?\d+\.?\d*[dD][+-]?\d+", text, re.ASCII):
        return re.sub("[dD]", "E", text)
    if _THOUSANDS.fullmatch(text) and not comma:
        return text
    match = _DECIMAL_COMMA.fullmatch(text)
    if match and re.search(r"\d", match[1] + match[2]):
        return f"{match[1]}.{match[2]}{match[3] or ''}"
    for pattern, separators, point in _GROUPED:
        if pattern.fullmatch(text):
            joined = text.translate({ord(one): None for one in separators})
            return joined.replace(point, ".") if point else joined
    return None


# Where an enhanced image has its pixel measures (PS3.3 C.7.6.16).
_MEASURES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
             "PixelMeasuresSequence")  # fmt: skip
_PLAIN = re.compile(rb"[0-9+.eE\\ -]*\0?")


def repair_dataset_numbers(ds: Dataset) -> None:
    """Repair the numbers of a header, in place, so that they can be decoded.

    Top-level elements and pixel measures are covered. A value that is no number stays: the actions
    hold the file for it.
    """
    for tag in list(ds.keys()):
        element = ds.get_item(tag)
        if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
            continue
        vr = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else None)
        if vr in ("DS", "IS") and not _PLAIN.fullmatch(element.value):
            values = element.value.decode("latin-1").rstrip(_PADDING).split("\\")
            if (read := repair_numbers(values, int(tag))) is not None:
                write_numbers(ds, int(tag), vr, read)
    for keyword in _MEASURES:
        for item in ds.get(keyword) or () if keyword in ds else ():
            repair_dataset_numbers(item)


def write_numbers(ds: Dataset, tag: int, vr: str, values: Sequence[str]) -> None:
    """Write numbers into a dataset as bytes, since pydicom would fail on a placeholder.

    Parameters
    ----------
    ds
        The dataset.
    tag, vr
        The element, of VR DS or IS.
    values
        Its values.
    """
    data = "\\".join(values).encode("ascii")
    data += b" " * (len(data) % 2)
    raw = RawDataElement(Tag(tag), vr, len(data), data, 0, False, True)
    ds._dict[raw.tag] = raw  # type: ignore[index]


_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"(?P<y>\d{4})(?P<s>[-/.: ]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d)\.?",
        r"(?P<y>\d{4})(?P<s>[-/.: ])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})",
        r"(?P<d>\d{1,2})\. ?(?P<m>\d{1,2})\. ?(?P<y>\d{4})",
        r"(?P<a>\d{1,2})(?P<s>[-/ ])(?P<b>\d{1,2})(?P=s)(?P<y>\d{4})",
        r"(?P<d>\d{1,2})[-. /]?(?P<n>[A-Za-z]{3,9})\.?[-. ,/]{0,2}(?P<y>\d{4})",
        r"(?P<n>[A-Za-z]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})",
        r"(?P<y>\d{4})[-. /]?(?P<n>[A-Za-z]{3,9})[-. /]?(?P<d>\d{1,2})",
        r"(?P<y>\d{4})[-/.]?(?P<m>\d\d)?",
    )
)
# A number outside these years is no year of a date.
_FIRST, _LAST = 1800, 2199


def repair_date(text: str) -> str | None:
    """Read a date as YYYYMMDD, or as YYYYMM or YYYY if it says no more.

    Return an empty text for a placeholder such as 0000-00-00, and None for a text that is no date
    or has two readings: 3/4/2024 is in March or in April, depending on who wrote it.
    """
    text = text.strip(_PADDING)
    if not re.search(r"[1-9A-Za-z]", text) or re.match(r"0001[-/.]?01[-/.]?01", text):
        return ""
    for pattern in _DATES:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        part = match.groupdict()
        if "n" in part:
            month = month_number(part["n"])
        elif "a" in part:
            one, other = int(part["a"]), int(part["b"])
            if one != other and one <= 12 and other <= 12:
                return None
            month, part["d"] = (other, part["a"]) if one > 12 or one == other else (one, part["b"])
        else:
            month = int(part["m"] or 0)
        return _day(int(part["y"]), month, int(part.get("d") or 0))
    return None


def _day(year: int, month: int | None, number: int) -> str | None:
    if month is None or not _FIRST <= year <= _LAST:
        return None
    if not month:
        return f"{year:04d}" if not number else None
    try:
        date(year, month, number or 1)
    except ValueError:
        return None
    return f"{year:04d}{month:02d}{number:02d}" if number else f"{year:04d}{month:02d}"


_OFFSET = r"\s*(?P<zone>[zZ]|[+-]\d\d(?::?\d\d)?)"
_TIMES = tuple(
    re.compile(pattern + rf"(?P<half>\s*[aApP]\.?[mM]\.?)?(?:{_OFFSET})?", re.ASCII)
    for pattern in (
        r"(?P<h>\d\d)(?P<m>\d\d)?(?(m)(?P<s>\d\d)?)(?(s)(?:[.,](?P<f>\d*))?)",
        r"(?P<h>\d{1,2})[: ](?P<m>\d\d)(?:[: ](?P<s>\d\d)(?:[.,:](?P<f>\d*))?)?",
        r"(?P<h>\d{1,2})\.(?P<m>\d\d)\.(?P<s>\d\d)(?:[.,](?P<f>\d*))?",
    )
)
# Too few digits for a whole date.
_DIGITS = re.compile(r"\d{1,7}([.,]\d{0,6})?|\d{1,2}(:\d{1,2}){1,3}([.,]\d*)?", re.ASCII)


def repair_time(text: str) -> str | None:
    """Read a time of day as HHMMSS.FFFFFF, with the precision that it has; None if it is none.

    An offset from UTC is left out: TM has no place for it, and means local time. Digits that give
    no time but are too few for a date stay as they are: they identify nobody.
    """
    text = text.strip(_PADDING)
    for pattern in _TIMES:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        hour = int(match["h"])
        if match["half"]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if match["half"].strip()[0] in "pP" else 0)
        fraction = (match["f"] or "")[:6]
        rest = f"{match['m'] or ''}{match['s'] or ''}" + (f".{fraction}" if fraction else "")
        return f"{hour:02d}{rest}"
    match = _MOMENT.fullmatch(text) or _WRITTEN.fullmatch(text)
    if match and match["time"] and len(repair_date(match["day"]) or "") == 8:
        return repair_time(match["time"])
    return text if _DIGITS.fullmatch(text) else None


_MOMENT = re.compile(
    rf"(?P<day>\d{{8}})[T ]?(?P<time>\d\d(?:\d\d(?:\d\d(?:[.,]\d*)?)?)?)?(?:{_OFFSET})?", re.ASCII
)
_WRITTEN = re.compile(
    rf"(?P<day>.+?)(?:T\s*|,?\s+)(?P<time>\d{{1,2}}(?:[:.]\d\d|\d{{2,4}}).*?)(?:{_OFFSET})?",
    re.ASCII,
)


def repair_datetime(text: str) -> str | None:
    """Read a date and time as a DT; return an empty text or None as `repair_date` does."""
    text = text.strip(_PADDING)
    match = _MOMENT.fullmatch(text) or _WRITTEN.fullmatch(text)
    if match is None:
        return repair_date(text)
    when = repair_date(match["day"])
    if when is None or (when and len(when) != 8 and match["time"]):
        return None
    time = repair_time(match["time"]) if match["time"] else ""
    if time is None or (not when and time.strip("0.")):
        return None
    if not when:
        return ""
    zone = (match["zone"] or "").replace(":", "").upper().replace("Z", "+0000")
    return f"{when}{time}{zone if len(zone) != 3 else zone + '00'}"


def repair_age(text: str) -> str | None:
    """Read an age as an AS, or return None if it is none (PS3.5 6.2).

    A number without a unit counts years from 25 on. A smaller one may count months, and stays as
    it is.
    """
    text = text.strip(_PADDING)
    match = re.fullmatch(
        r"0*(\d{1,3})\s*(?:([dwmyDWMY])|(days?|weeks?|months?|years?|yrs?))?\.?",
        text,
        re.ASCII | re.I,
    )
    if match is None:
        return None
    unit = (match[2] or (match[3] or "")[:1]).upper()
    if not unit:
        if int(match[1]) < 25:
            return match[1]
        unit = "Y"
    return f"{int(match[1]):03d}{unit}"


def repair_value(text: str, vr: str) -> str | None:
    """Repair a DA, TM, DT or AS.

    Parameters
    ----------
    text
        The value.
    vr
        Its VR.

    Returns
    -------
    str or None
        The value as PS3.5 6.2 writes it; empty for a placeholder; None when it has no one meaning.
    """
    if not text.strip(_PADDING) or _NO_VALUE.fullmatch(text.strip(_PADDING)):
        return ""
    if vr == "TM":
        return repair_time(text)
    if vr == "AS":
        return repair_age(text)
    if vr == "DT":
        return repair_datetime(text)
    found = repair_date(text)
    if found is None and (whole := repair_datetime(text)):
        return whole[:8]
    return found
