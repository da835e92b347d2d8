"""Names and dates in free text, damaged and put together at random, through cleaner and checker.

Each case is made from its number alone. Whatever stands in a text, the cleaner does not fail, what
it leaves is nothing that the checker refuses, and the canary is in none of it.
"""

from __future__ import annotations

import random
import time
import unicodedata
from datetime import date, timedelta

from pacsgrid.deid import Pseudonyms
from pacsgrid.deid.check.identity import Identity
from pacsgrid.deid.check.identity_search import IdentitySearch, find_dates
from pacsgrid.deid.identifiers import StudyIdentifiers
from pacsgrid.deid.text_cleaner import TextCleaner
from support.written_names import NAMES, ways

STAFF = "Hromadka^Oldrich"
WORDS = (
    "CT", "Thorax", "knee", "T2W", "胸部", "무릎", "колено", "5.0", "B30f", "mm", "na", "van", "x",
    "J", "***", "2", "von", "de", "10", "3", "24", "ng/ml", "1.2.840.10008.5.1",
    "2.25.77", "\u200b", "(", "Dr.", "born", "nar.", "*", "v", "120 kV", "年", "T10:11:12", "\\",
    "\0", "\u0301", "\ufeff",
)  # fmt: skip
JOINTS = ("", "", " ", " ", "_", ", ", "-", "^", "/", "\n", "\u00a0", ".", "=")
STUDIES = 64


class Study:
    """A patient, and what looks for the patient."""

    def __init__(self, number: int) -> None:
        draw = random.Random(number)
        _, self.name, self.texts = NAMES[number % len(NAMES)]
        born = date(1920, 1, 1) + timedelta(draw.randrange(38000))
        day = date(2000, 1, 1) + timedelta(draw.randrange(9000))
        self.dates = [*ways(born), *ways(day)]
        days = f"{born:%Y%m%d}", f"{day:%Y%m%d}"
        identifiers = StudyIdentifiers(
            names=frozenset({self.name, STAFF}),
            staff=frozenset({STAFF}),
            birth_dates=frozenset(days[:1]),
            dates=frozenset(days[1:]),
        )
        identity = Identity(
            names={self.name, STAFF},
            patients={self.name},
            persons={self.name, STAFF},
            births={days[0]},
            dates={days[1]},
        )
        self.cleaner = TextCleaner(
            identifiers, Pseudonyms(b"f" * 32, "fuzz"), -draw.randrange(1, 365)
        )
        self.search = IdentitySearch(identity)
        self.canaries = [
            word for word in _plain(self.name.replace("^", " ").replace("=", " ")).split()
            if len(word) >= 5
        ]  # fmt: skip


def _plain(text: str) -> str:
    """Reduce to small letters without marks; how the canary is looked for."""
    kept = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in kept if not unicodedata.combining(c))


def text_of(study: Study, draw: random.Random) -> str:
    """Put a text together."""
    made = ""
    for _ in range(draw.randrange(1, 7)):
        kind = draw.random()
        if kind < 0.4:
            piece = draw.choice(study.texts)
        elif kind < 0.65:
            piece = draw.choice(study.dates)
        elif kind < 0.7:
            piece = STAFF.split("^")[draw.randrange(2)]
        else:
            piece = draw.choice(WORDS)
        if draw.random() < 0.1:
            at = draw.randrange(len(piece) + 1)
            piece = piece[:at] + draw.choice(("\u00ad", " ", "-", "1", "é", "Z")) + piece[at:]
        case = draw.random()
        piece = piece.upper() if case < 0.15 else piece.lower() if case < 0.3 else piece
        made += piece + draw.choice(JOINTS)
    return made


def throw(seed: int, numbers: range) -> str:
    """Throw cases; return what to tell.

    Raises
    ------
    AssertionError
        Names the case, and quotes it: its patients are made up.
    """
    start = time.monotonic()
    studies = [Study(seed * STUDIES + number) for number in range(STUDIES)]
    changed = 0
    for number in numbers:
        draw = random.Random(f"{seed}/{number}")
        study = studies[number % STUDIES]
        text = text_of(study, draw)
        where = f"texts, case {number} of seed {seed}: {text!r}"
        try:
            cleaned = study.cleaner.clean(text, draw.choice(("LO", "SH", "ST", "LT", "UT")))
        except Exception as error:
            raise AssertionError(f"{where}: {error!r}") from error
        found = study.search.search_text(cleaned)
        assert found is None, f"{where} became {cleaned!r}, which holds {found}"
        days = set(find_dates(cleaned)) & study.search.dates & set(find_dates(text))
        assert not days, f"{where} became {cleaned!r}, which holds a date"
        assert not any(word in _plain(cleaned) for word in study.canaries), f"{where}: {cleaned!r}"
        changed += cleaned != text
    assert changed > len(numbers) // 2, "texts: most cases hold nothing; they test nothing"
    speed = len(numbers) / (time.monotonic() - start)
    return f"texts: {len(numbers)} cases, {speed:.0f}/s; in {changed} of them something went"
