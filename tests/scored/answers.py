"""What the right answer to each decision is, and the judge that scores a tool's output with it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

CATEGORIES = (
    "tag retained", "text removed", "text retained", "date shifted", "UID changed",
    "UID consistent", "patient ID consistent", "pixels hidden", "pixels retained", "private",
)  # fmt: skip
REMOVAL = frozenset({"text removed", "date shifted", "UID changed", "pixels hidden", "private"})
Step = str | int | tuple[str, int, int]


@dataclass(frozen=True)
class Decision:
    """One thing that a de-identifier decides about one place in one file.

    `path` leads to the element: keywords, item numbers, private elements as (creator, group,
    element). `rule` says how to judge what is there, `expected` what the rule needs.
    """

    category: str
    file: str
    path: tuple[Step, ...]
    rule: str
    expected: Any = None
    language: str = ""


@dataclass
class Answers:
    """All decisions about a set of files, with what links the files."""

    decisions: list[Decision] = field(default_factory=list)
    patient_of: dict[str, str] = field(default_factory=dict)
    study_date: dict[str, date] = field(default_factory=dict)

    def add(
        self,
        category: str,
        file: str,
        path: Any,
        rule: str,
        expected: Any = None,
        language: str = "",
    ) -> None:
        """Note one decision; a single step may stand for its path."""
        steps = tuple(path) if isinstance(path, list) else (path,)
        self.decisions.append(Decision(category, file, steps, rule, expected, language))


@dataclass
class Score:
    """Right answers and all, by category, and the decisions that went wrong."""

    right: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    wrong: list[Decision] = field(default_factory=list)
    right_in: Counter[str] = field(default_factory=Counter)
    total_in: Counter[str] = field(default_factory=Counter)

    def overall(self) -> float:
        """Share of right answers of all categories, in percent."""
        return 100 * self.right.total() / self.total.total()

    def percent(self, category: str) -> float:
        """Share of right answers, in percent."""
        return 100 * self.right[category] / self.total[category]


def fold(text: str) -> str:
    """Letters and digits only, without diacritics and case: how a reader would recognise a name."""
    plain = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("Ø", "O"))
    return "".join(c for c in plain.casefold() if c.isalnum() and not unicodedata.combining(c))


class Judge:
    """Scores one tool's output: `outputs` maps an input's name to a file; the held are absent."""

    def __init__(self, answers: Answers, outputs: dict[str, Path], inputs: dict[str, Path]) -> None:
        self._answers = answers
        self._out = {name: dcmread(path) for name, path in outputs.items()}
        self._in = {name: dcmread(path) for name, path in inputs.items()}
        self._uids: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._original_uids = {
            str(uid)
            for ds in self._in.values()
            for element in ds.iterall()
            if element.VR == "UI"
            for uid in _list(element.value)
        }

    def score(self) -> Score:
        """Judge every decision; what is about a file that was not written is wrong."""
        score = Score()
        for decision in self._answers.decisions:
            score.total[decision.category] += 1
            score.total_in[decision.language] += 1
            ds = self._out.get(decision.file)
            if ds is not None and getattr(self, "_" + decision.rule)(ds, decision):
                score.right[decision.category] += 1
                score.right_in[decision.language] += 1
            else:
                score.wrong.append(decision)
        return score

    def _present(self, ds: Dataset, decision: Decision) -> bool:
        return find(ds, decision.path) is not None

    def _same(self, ds: Dataset, decision: Decision) -> bool:
        found = find(ds, decision.path)
        return found is not None and found == find(self._in[decision.file], decision.path)

    def _gone(self, ds: Dataset, decision: Decision) -> bool:
        found = " ".join(find(ds, decision.path) or ())
        text, words = fold(found), {fold(word) for word in re.split(r"[\W_]+", found)}
        # Two Latin letters are a part of too many words: Li of liver.
        return not any(
            one in (words if len(one) <= 2 and one.isascii() else text)
            for one in map(fold, decision.expected)
        )

    def _kept(self, ds: Dataset, decision: Decision) -> bool:
        text = fold(" ".join(find(ds, decision.path) or ()))
        return fold(decision.expected) in text

    def _dummy(self, ds: Dataset, decision: Decision) -> bool:
        """A date that has to be there and is none; one that moved would tell the age in days."""
        found = find(ds, decision.path)
        return found is None or found in ([""], ["19000101"])

    def _absent(self, ds: Dataset, decision: Decision) -> bool:
        return find(ds, decision.path) is None

    def _shift(self, name: str) -> timedelta | None:
        """The patient's shift: what became of the first study date of that patient."""
        patient = self._answers.patient_of[name]
        for other, owner in self._answers.patient_of.items():
            if owner == patient and other in self._out:
                moved = _date(str(self._out[other].get("StudyDate", "") or ""), "%Y%m%d")
                # The same dummy for every date (1900, 1970) is not a shift.
                shift = moved - self._answers.study_date[other] if moved else timedelta()
                if 0 < abs(shift.days) < 7300:
                    return shift
        return None

    def _moved(self, ds: Dataset, decision: Decision) -> bool:
        """A DA or DT: shifted as far as the study's date was, the time of day as it stood."""
        found, shift = find(ds, decision.path), self._shift(decision.file)
        before = find(self._in[decision.file], decision.path)
        if not found or not before or shift is None or len(found) != len(before):
            return False
        for new, old in zip(found, before, strict=True):
            was = _date(old[:8], "%Y%m%d")
            if was is None or not new.startswith(f"{was + shift:%Y%m%d}"):
                return False
            if new[8:] != old[8:]:
                return False
        return True

    def _text_date(self, ds: Dataset, decision: Decision) -> bool:
        """A date inside text: written in its own format, shifted as far as the study's date."""
        original, form = decision.expected
        shift = self._shift(decision.file)
        text = " ".join(find(ds, decision.path) or ())
        return shift is not None and written(original + shift, form) in text

    def _new_uid(self, ds: Dataset, decision: Decision) -> bool:
        found = find(ds, decision.path)
        return bool(found) and self._original_uids.isdisjoint(found or ())

    def _follows(self, ds: Dataset, decision: Decision) -> bool:
        """A UID, or a reference to one: the same original has the same new one everywhere."""
        found = find(ds, decision.path)
        before = find(self._in[decision.file], decision.path)
        if not found or not before or not found[0] or found == before:
            return False
        return self._uids.setdefault(before[0], found[0]) == found[0]

    def _subject(self, ds: Dataset, decision: Decision) -> bool:
        found = find(ds, decision.path)
        original = self._answers.patient_of[decision.file]
        if not found or not found[0] or fold(found[0]) == fold(original):
            return False
        first = self._ids.setdefault(original, found[0])
        return first == found[0] and list(self._ids.values()).count(first) == 1

    def _same_pixels(self, ds: Dataset, decision: Decision) -> bool:
        """All pixels but those of the box, if there is one (rows from 0 to `expected`)."""
        source = self._in[decision.file]
        if "PixelData" not in ds:
            return False
        skip = (decision.expected or 0) * int(source.Columns) * int(source.BitsAllocated) // 8
        return bool(ds.PixelData[skip:] == source.PixelData[skip:])

    def _blank(self, ds: Dataset, decision: Decision) -> bool:
        """The burned-in text (rows from 0 to `expected`) is no longer there."""
        if "PixelData" not in ds:
            return False
        end = decision.expected * int(ds.Columns) * int(ds.BitsAllocated) // 8
        return len(set(ds.PixelData[:end])) == 1


def find(ds: Dataset, path: tuple[Step, ...]) -> list[str] | None:
    """Return the values at a path as strings, None when the path leads nowhere."""
    here: Any = ds
    for step in path:
        try:
            if isinstance(step, tuple):
                creator, group, low = step
                element = here.private_block(group, creator)[low]
                here = element.value
            else:
                here = here[step] if isinstance(step, int) else getattr(here, step)
        except (AttributeError, KeyError, IndexError, TypeError):
            return None
    return _list(here)


def written(day: date, form: str) -> str:
    """Write a date in a format, `%-d` and `%-m` included on every platform."""
    text = form.replace("%-d", str(day.day)).replace("%-m", str(day.month))
    return day.strftime(text)


def _date(text: str, form: str) -> date | None:
    if not re.fullmatch(r"\d{8}", text):
        return None
    try:
        return datetime.strptime(text, form).date()
    except ValueError:
        return None


def _list(value: Any) -> list[str]:
    if value is None:
        return [""]
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return [str(item) for item in value]
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    return [str(value)]
