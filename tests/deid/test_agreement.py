"""The text cleaner removes every name and date that the checker would refuse."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, timedelta
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsgrid.deid import Pseudonyms
from pacsgrid.deid.check.identity import Identity
from pacsgrid.deid.check.identity_search import IdentitySearch, find_dates
from pacsgrid.deid.identifiers import StudyIdentifiers
from pacsgrid.deid.text_cleaner import TextCleaner
from support.written_names import NAMES, ways

BORN, EXAMINED, SHIFT = date(1961, 5, 4), date(2024, 3, 10), -37
STAFF = "Hromadka^Oldrich"
# Titles, and what else stands beside a name in the ways to write it.
NO_NAME = re.compile("先生|患者|女士|医生|さん|씨|นาย|ปวดเข่า|Knee|^ng | ng ")
CASES = [(lang, name, text) for lang, name, texts in NAMES for text in texts]


@lru_cache(maxsize=256)
def tools(
    name: str, born: date = BORN, examined: date = EXAMINED
) -> tuple[TextCleaner, IdentitySearch]:
    """Return cleaner and search of a study of somebody."""
    days = f"{born:%Y%m%d}", f"{examined:%Y%m%d}"
    identifiers = StudyIdentifiers(
        names=frozenset({name, STAFF}),
        staff=frozenset({STAFF}),
        birth_dates=frozenset(days[:1]),
        dates=frozenset(days[1:]),
        study_dates=frozenset(days[1:]),
    )
    identity = Identity(
        names={name, STAFF},
        patients={name},
        persons={name, STAFF},
        births={days[0]},
        dates={days[1]},
    )
    return TextCleaner(identifiers, Pseudonyms(b"a" * 32, "agree"), SHIFT), IdentitySearch(identity)


def letters(text: str) -> str:
    """Reduce a text for the test's own look: plain small letters and digits, no spaces."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ł", "l")).casefold()
    return "".join(c for c in plain if c.isalnum())


def agreed(cleaner: TextCleaner, search: IdentitySearch, text: str) -> str:
    """Clean a text; the checker has to be content with what is left."""
    cleaned = cleaner.clean(text)
    assert search.search_text(cleaned) is None, (text, cleaned)
    assert not set(find_dates(cleaned)) & search.dates & set(find_dates(text)), (text, cleaned)
    return cleaned


@pytest.mark.parametrize(("language", "name", "text"), CASES)
def test_a_name_goes_and_its_surroundings_stay(language: str, name: str, text: str) -> None:
    cleaner, search = tools(name)
    for around in ("({}) thorax", "MR / {} / T2", "{}", "axial: {} 3mm"):
        cleaned = agreed(cleaner, search, around.format(text))
        assert letters(text) not in letters(cleaned)
        assert NO_NAME.sub("", cleaned).replace("***.", "***") == around.format("***")


@pytest.mark.parametrize(("language", "name", "text"), CASES)
def test_another_patient_keeps_the_text(language: str, name: str, text: str) -> None:
    cleaner, search = tools("Kvapilova^Zdenka")
    assert agreed(cleaner, search, f"{text} thorax") == f"{text} thorax"


@pytest.mark.parametrize("text", [
    "5 ng/ml", "ng/ml", "angina pectoris", "linear", "abdomen", "NaCl 0.9%", "mandible",
    "T1 tse tra", "kostel", "Kosten", "桃李满天下", "이상 소견 없음", "диван", "120 kV 80 mA",
    "1.5/3.0 T", "TE 10-03", "10/5/20 mm", "10-20-30", "L4/5/12", "TR/TE 500/20", "syngo 3.2.15",
    "VB17A 4.5.62", "10:03:24", "b 0/50/800", "5 x 20 mm", "LO-RES 3D", "1 2 3",
])  # fmt: skip
@pytest.mark.parametrize("name", ["Li^Na", "Ng^Y", "Kos^Jan", "李^娜", "김^철수", "Ли^Бо"])
def test_what_is_no_name_and_no_date_stays(name: str, text: str) -> None:
    cleaner, search = tools(name)
    assert agreed(cleaner, search, text) == text


@pytest.mark.parametrize("text", ["MR LI thorax", "ng", "Wu, 5 mm"])
def test_two_letters_are_a_name_in_the_study_of_who_is_called_so_alone(text: str) -> None:
    for name in ("Li^Na", "Ng^Y", "Wu^Bo"):
        cleaner, search = tools(name)
        mine = name.split("^")[0].casefold() in text.casefold()
        assert ("***" in agreed(cleaner, search, text)) == mine


def test_two_letters_of_staff_go_beside_each_other() -> None:
    study = StudyIdentifiers(names=frozenset({"Wu^Bo"}), staff=frozenset({"Wu^Bo"}))
    cleaner = TextCleaner(study, Pseudonyms(b"a" * 32, "agree"), 0)
    assert cleaner.clean("seen: Bo Wu, MR") == "seen: ***, MR"
    assert cleaner.clean("Wu MR") == "Wu MR"


@pytest.mark.parametrize("text", list(ways(BORN)))
def test_a_birth_date_goes(text: str) -> None:
    cleaner, search = tools("Kvapilova^Zdenka")
    cleaned = agreed(cleaner, search, f"x {text} y")
    assert re.fullmatch(r"x (ng\S* )?\*+(T10:11:12)? y", cleaned), cleaned


@pytest.mark.parametrize("text", list(ways(EXAMINED)))
def test_a_day_of_the_study_moves_or_goes(text: str) -> None:
    cleaner, search = tools("Kvapilova^Zdenka")
    cleaned = agreed(cleaner, search, f"x {text} y")
    assert text not in cleaned
    moved = EXAMINED + timedelta(SHIFT)
    assert "***" in cleaned or str(moved.day) in cleaned


@pytest.mark.parametrize(("text", "moved"), [
    ("10.3.24", "2.2.24"), ("10/03/24", "02/02/24"), ("10. 3. 24", "2. 2. 24"),
    ("10. března 2024", "2. února 2024"), ("10. brezna 2024", "2. unora 2024"),
    ("10.III.2024", "02.II.2024"), ("10MAR2024", "02FEB2024"), ("10-MAR-24", "02-FEB-24"),
    ("2024–03–10", "2024–02–02"), ("2024_03_10", "2024_02_02"), ("03/10/2024", "02/02/2024"),
    ("10/03/2024", "02/02/2024"), ("10. März 2024", "2. Februar 2024"),
    ("10 août 2024", "04 juillet 2024"), ("10. marca 2024", "2. februara 2024"),
    ("2024年3月10日", "2024年2月2日"),
])  # fmt: skip
def test_what_can_be_told_moves_in_its_own_writing(text: str, moved: str) -> None:
    cleaner, search = tools("Kvapilova^Zdenka")
    assert agreed(cleaner, search, f"on {text}") == f"on {moved}"


NAMED = st.sampled_from(NAMES)
DAYS = st.dates(date(1925, 1, 1), date(2024, 12, 31))
WORDS = st.sampled_from(
    ["CT", "Thorax", "knee", "T2W", "胸部", "무릎", "колено", "5.0", "B30f", "mm", "na", "van", "x",
     "J", "***", "(", ")", "/", "^", "_", "-", ",", ".", "2", "von", "de", "10", "3", "24"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(NAMED, DAYS, DAYS, st.data())
def test_generated_texts_leave_no_name_and_no_date(
    who: tuple[str, str, list[str]], born: date, examined: date, data: st.DataObject
) -> None:
    _, name, texts = who
    cleaner, search = tools(name, born, examined)
    parts = [word for word in re.split(r"[\^= ]", name) if word]
    piece = st.one_of(
        WORDS,
        st.sampled_from(texts),
        st.sampled_from(parts),
        st.sampled_from(parts).map(str.upper),
        st.sampled_from(parts).map(str.lower),
        st.sampled_from(parts).map(lambda word: word[:1]),
        st.sampled_from(list(ways(born))),
        st.sampled_from(list(ways(examined))),
    )
    pieces = data.draw(st.lists(piece, min_size=1, max_size=6))
    joints = data.draw(st.lists(st.sampled_from(["", " ", "_", ", ", "-", "^"]), min_size=6))
    text = "".join(p + j for p, j in zip(pieces, joints, strict=False))
    cleaned = agreed(cleaner, search, text)
    for part in parts:
        if len(letters(part)) >= 5:
            assert letters(part) not in letters(cleaned)
