"""Files that carry a canary in one row of the table, at some depth of sequences."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from support.dicom import ct

from .table import Row

NAME = "Kanarek"
# A sequence without a row in the table: what it holds has to be found.
NEST = "RadiopharmaceuticalInformationSequence"
_NUMBERS = {"IS": "7712345", "DS": "771.25", "FL": 771.25, "FD": 771.25}


def canary(number: int, vr: str) -> Any:
    """Return a value of a VR that stands in no other row; texts contain the patient's name."""
    word = f"{NAME.upper()}{number:04d}"
    if vr in ("DA", "DT"):
        # Farther apart than any shift, so that none becomes another.
        day = date(1200, 1, 1) + timedelta(days=366 * (number % 700))
        return f"{day:%Y%m%d}" if vr == "DA" else f"{day:%Y%m%d}101112.345678+0100"
    if vr == "PN":
        return f"{NAME}{number:04d}^Zuza"
    if vr == "UI":
        return f"1.2.826.0.1.3680043.77.{number}.1"
    if vr in _NUMBERS:
        return _NUMBERS[vr]
    if vr == "SQ":
        item = Dataset()
        item.PersonName, item.TextValue, item.UID = word, f"seen {word}", canary(number, "UI")
        item.Date = canary(number, "DA")
        return [item]
    if vr == "AS":
        return "077Y"
    if vr == "TM":
        return f"1112{number % 60:02d}.{number:06d}"
    if vr in ("OB", "OW", "UN"):
        return (word + " ").encode()[: 2 * (len(word) // 2)]
    return 7712 if vr in ("US", "SS", "UL", "SL") else word


def needles(number: int, vr: str) -> list[bytes]:
    """Return what may stand nowhere in the output's bytes."""
    value = canary(number, vr)
    if vr == "SQ":
        parts = [value[0].UID, value[0].Date, f"{NAME.upper()}{number:04d}"]
        return [part.encode() for part in parts]
    if vr in ("DA", "DT"):
        return [value[:8].encode()]
    if vr in ("TM", "AS", "US", "SS", "UL", "SL", *_NUMBERS):
        return []
    return [value.rstrip() if isinstance(value, bytes) else str(value).encode()]


def vr_of(row: Row) -> str:
    """Return the VR that the dictionary gives the row's example."""
    if row.tag >> 16 & 1:
        return "LO"
    vr = dictionary_VR(row.tag)
    return "OW" if " or " in vr and "OW" in vr else vr.split(" ")[0]


def write(path: Path, number: int, row: Row, depth: int) -> bool:
    """Write a CT with the canary; False when no file can carry it there (groups 0, 2 and 4)."""
    group = row.tag >> 16
    if group in (0x0000, 0x0002, 0x0004) and (depth or group == 0):
        return False
    uid = f"1.2.840.99999.{number}.{depth}"
    ds = dcmread(ct(path, uid, f"{uid}.1", f"{NAME}^Zuza", fill=7))
    with config.disable_value_validation():
        carrier = Dataset() if depth else ds
        vr = vr_of(row)
        if group == 2:
            ds.file_meta.add(DataElement(row.tag, vr, canary(number, vr)))
        else:
            if group & 1:
                carrier.add(DataElement(group << 16 | 0x10, "LO", "KANAREK CREATOR"))
            carrier.add(DataElement(row.tag, vr, canary(number, vr)))
        for _ in range(depth):
            outer = Dataset()
            setattr(outer, NEST, [carrier])
            carrier = outer
        if depth:
            setattr(ds, NEST, getattr(carrier, NEST))
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.save_as(path, enforce_file_format=True)
    return True


def left_over(result: Path, number: int, row: Row, depth: int, options: frozenset[str]) -> str:
    """Say what of the canary is left in a result; empty when nothing is."""
    if row.may_stay(options):
        return ""
    vr = vr_of(row)
    data = result.read_bytes()
    for needle in needles(number, vr):
        if needle in data:
            return f"{row.name} at depth {depth}: the canary stands in the output"
    times_stay = vr == "TM" and "modified" in options
    ds: Any = dcmread(result)
    for _ in range(depth):
        items = ds.get(NEST)
        if not items:
            return ""
        ds = items[0]
    found = ds.get(row.tag)
    if found is not None and vr != "SQ" and not times_stay and found.value == canary(number, vr):
        return f"{row.name} at depth {depth}: the value is as it was"
    return ""
