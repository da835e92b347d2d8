"""Dates, times and numbers as careless writers spell them: anonymiser and checker read alike.

They share no code, so each finds what the other misread: a date that was left, a value that was
lost, a time that is another one.
"""

from __future__ import annotations

import random

from pacsgrid.deid import load_profile
from pacsgrid.deid.actions import _shift_time
from pacsgrid.deid.check.element_dates import days_in_value
from pacsgrid.deid.check.identity import Identity
from pacsgrid.deid.check.reader import Element
from pacsgrid.deid.check.value_loss import LossCheck
from pacsgrid.deid.value_repair import repair_numbers
from pacsgrid.errors import HeldError

SHIFT = -100
TAGS = {"DA": 0x00080021, "TM": 0x00080031, "DT": 0x0008002A, "DS": 0x00280030}


class Writer:
    """Writes values; most of them can be read by somebody."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def _one(self, *choices: str) -> str:
        return self._draw.choice(choices)

    def date(self) -> str:
        year = self._one("2024", "1999", "2000", "1975", "0001", "24")
        month = self._one("03", "3", "12", "01", "13", "00", "Mar", "MAR", "March", "1")
        day = self._one("10", "1", "01", "31", "28", "00", "05", "25")
        parts = self._draw.choice(
            [(year, month, day), (day, month, year), (month, day, year), (year, month), (year,)]
        )
        written = self._one("-", ".", "/", ":", " ", "", ". ", ", ").join(parts)
        return self._one(written, written, written, "00000000", "0000-00-00")

    def time(self) -> str:
        count = self._draw.choice([1, 2, 3, 3, 3])
        parts = [self._one("10", "9", "23", "24", "00", "59", "60", "5") for _ in range(count)]
        fraction = self._one("", "", ".5", ",5", ".1234567", ".", ".123456", ":500")
        zone = self._one("", "", "", " AM", "pm", "Z", "+0100", "-06:00", "+01", " +0100")
        return self._one(":", "", ".", " ").join(parts) + fraction + zone

    def number(self) -> str:
        sign = self._one("", "", "-", "+", "- ", "\u2212")
        whole = self._one("0", "7", "12", "1234", "1 234", "1'234", "1,234", "1.234", "0,703", ".5",
                          ",5", "1,234,567", "nan", "")  # fmt: skip
        rest = self._one("", "", ".5", ",5", ".", "e3", "E-2", "d2", ".123", ",123", "e")
        return sign + whole + rest + self._one("", "", "", " mm", "mm", " cm", "\0")

    def value(self, vr: str) -> str:
        if vr == "DS":
            return "\\".join(self.number() for _ in range(self._draw.randint(1, 3)))
        if vr == "TM":
            return self._one(self.time(), self.time(), f"{self.date()} {self.time()}", self.date())
        joined = self.date() + self._one("", "T", " ", "  ") + self.time()
        return self._one(self.date(), self.date(), joined, "20240101-20240202")


def agree(seed: int, count: int) -> dict[str, int]:
    """Return how many values of each VR were read; raises AssertionError at a disagreement."""
    draw = random.Random(seed)
    writer, losses = Writer(draw), LossCheck(load_profile("research"), Identity())
    made = dict.fromkeys(TAGS, 0)
    for _ in range(count):
        vr = draw.choice(list(TAGS))
        value = writer.value(vr)
        try:
            if vr == "DS":
                raw = value.encode().decode("latin-1").rstrip(" \0").split("\\")
                read = repair_numbers(raw, TAGS[vr])
                if read is None:
                    continue
                result = "\\".join(read)
            else:
                result = _shift_time(TAGS[vr], value, vr, SHIFT)
        except HeldError:
            continue
        made[vr] += 1
        assert not days_in_value(result) & days_in_value(value) or vr == "DS", (vr, value, result)
        losses.check(TAGS[vr], Element(vr, value.encode()), Element(vr, result.encode()))
    return made
