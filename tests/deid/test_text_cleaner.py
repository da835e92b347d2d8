"""Free text and dates: what is removed, what stays, what is shifted."""

from __future__ import annotations

import pytest

from pacsgrid.deid import Pseudonyms
from pacsgrid.deid.date_shift import shift_date
from pacsgrid.deid.identifiers import StudyIdentifiers
from pacsgrid.deid.text_cleaner import TextCleaner

IDENTIFIERS = StudyIdentifiers(
    names=frozenset({"Nováková^Žofie", "Dvořák^Jiří", "O'Brien^Seán", "Müller^Jürgen"}),
    ids=frozenset({"756203/1234", "ACC-77123"}),
    birth_dates=frozenset({"19750312"}),
    places=frozenset({"Dlouhá 12, Brno", "Nemocnice U Lípy"}),
)
CLEANER = TextCleaner(IDENTIFIERS, Pseudonyms(b"t" * 32, "text"), -10)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Žofie NOVÁKOVÁ, T2W", "***, T2W"),
        ("pro Zofii NOVAKOVOU", "pro ***"),
        ("NOVAKOVA_ZOFIE_T1", "***_T1"),
        ("Ž. Nováková", "***"),
        ("MUELLER OBRIEN", "***"),
        ("od Dvorakem", "od ***"),
        ("r.č. 7562031234", "r.č. ***"),
        ("acc77123 thorax", "*** thorax"),
        ("born 12. 3. 1975", "born ***"),
        ("seen by Dr. Petr Svoboda today", "seen by *** today"),
        ("Smith^John axial", "*** axial"),
        ("call (617) 555-0143", "call ***"),
        ("x.y@nemocnice.cz", "***"),
        ("at Dlouhá 12, Brno", "at ***"),
        ("42 Harbour Street", "***"),
        ("93 y/o male", "90+ y/o male"),
        ("born 1 9 7 5 0 3 1 2", "born ***"),
        ("since 1975-Q1, axial", "since ***, axial"),
        ("N0vakova axial", "*** axial"),
        ("Novakcva axial", "*** axial"),
        ("Befundet von Karl Brandt, Schädel", "Befundet von ***, Schädel"),
        ("Lekár: Peter Bielik, koleno", "Lekár: ***, koleno"),
        ("since Q1/1975, axial", "since ***, axial"),
    ],
)
def test_what_identifies_goes(text: str, cleaned: str) -> None:
    assert CLEANER.clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    ["CT 512x512 3.0mm B30f", "L4-L5 L5/S1", "SUVmax 4.2 (prev 3.9)", "TR 4000 TE 90 FA 150",
     "Head^Routine", "ABDOMEN^1_LIVER (Adult)", "Kidney 12-15 cm, 3-4 mm", "45 y/o male",
     "DR CHEST", "Patient supine, head first", "1.2.840.10008.5.1.4.1.1.2", "10:15"],
)  # fmt: skip
def test_what_research_needs_stays(text: str) -> None:
    assert CLEANER.clean(text) == text


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("2024-01-05", "2023-12-26"),
        ("5. 1. 2024", "26. 12. 2023"),
        ("05.01.2024", "26.12.2023"),
        ("01/05/2024", "12/26/2023"),
        ("25/01/2024", "15/01/2024"),
        ("5 Jan 2024", "26 Dec 2023"),
        ("JANUARY 5, 2024", "DECEMBER 26, 2023"),
        ("20240105", "20231226"),
    ],
)
def test_dates_in_text_move_in_their_own_writing(text: str, moved: str) -> None:
    assert CLEANER.clean(f"on {text}, axial") == f"on {moved}, axial"


@pytest.mark.parametrize(
    ("value", "vr", "moved"),
    [
        ("20240105", "DA", "20231226"),
        ("2024.01.05", "DA", "20231226"),
        ("20240105101530.25+0100", "DT", "20231226101530.25+0100"),
        ("202401", "DT", "202401"),
        ("2024", "DT", "2024"),
        ("10:15:30", "TM", "10:15:30"),
        ("101530.123", "TM", "101530.123"),
        ("045Y", "AS", "045Y"),
        ("Nováková", "DA", ""),
        ("20241399", "DA", ""),
        ("00010101", "DA", ""),
    ],
)
def test_dates_and_times_move_by_whole_days(value: str, vr: str, moved: str) -> None:
    assert shift_date(value, vr, -10) == moved


def test_without_dates_a_date_in_text_goes() -> None:
    cleaner = TextCleaner(IDENTIFIERS, Pseudonyms(b"t" * 32, "text"), None)
    assert cleaner.clean("compared with 5. 1. 2024") == "compared with ***"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("4 V 61 knee", "*** knee"),
        ("4. kv. 1961 knee", "*** knee"),
        ("1961/124", "***"),
        ("05/1961", "***"),
        ("born V.1961", "born ***"),
        ("10III2024", "29II2024"),
        ("2024-070 T2", "*** T2"),
        ("March 10 T2", "*** T2"),
        ("vs 10.3. T2", "vs *** T2"),
        ("03/2024", "***"),
        ("KW 10/2024 T2", "*** T2"),
        ("10. Woche 2024", "***"),
        ("2024-W10", "***"),
        ("born 1961-W18-4", "born ***"),
    ],
)
def test_what_says_a_part_of_a_known_day_goes(text: str, cleaned: str) -> None:
    known = StudyIdentifiers(birth_dates=frozenset({"19610504"}), dates=frozenset({"20240310"}))
    assert TextCleaner(known, Pseudonyms(b"t" * 32, "text"), -10).clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "12/2023",
        "v10.3. build",
        "Dose 10.3 mGy",
        "2024-120",
        "2024-W11-7",
        "KW 12/2024",
        "5 V 62",
        "10 x 3 x 24",
    ],
)
def test_what_says_no_known_day_stays(text: str) -> None:
    known = StudyIdentifiers(birth_dates=frozenset({"19610504"}), dates=frozenset({"20240310"}))
    assert TextCleaner(known, Pseudonyms(b"t" * 32, "text"), -10).clean(text) == text


@pytest.mark.parametrize(
    ("name", "text", "cleaned"),
    [
        ("王小明", "王小明的CT", "***的CT"),
        ("王小明", "王 小明", "***"),
        ("Kvapilová^Zdeňka", "Kvapil knee", "*** knee"),
        ("Kvapilová^Zdeňka", "kapilary", "kapilary"),
        ("Иванова^Мария", "IVANOVA Marija knee", "*** knee"),
        ("Щербаков^Юрий", "Scherbakova shcherbakov", "***"),
        ("Παπαδόπουλος^Γιώργος", "GIORGOS Papadopoulos knee", "*** knee"),
    ],
)
def test_the_whole_of_a_name_goes(name: str, text: str, cleaned: str) -> None:
    known = StudyIdentifiers(names=frozenset({name}))
    assert TextCleaner(known, Pseudonyms(b"t" * 32, "text"), -10).clean(text) == cleaned


@pytest.mark.parametrize(
    ("identifier", "text", "cleaned"),
    [
        ("0012345", "12345 knee", "*** knee"),
        ("MRN 555 66", "55566 knee", "*** knee"),
        ("MRN 555 66", "5556 knee", "5556 knee"),
        ("X0123", "123 knee", "123 knee"),
    ],
)
def test_an_identifier_is_its_number_too(identifier: str, text: str, cleaned: str) -> None:
    known = StudyIdentifiers(ids=frozenset({identifier}))
    assert TextCleaner(known, Pseudonyms(b"t" * 32, "text"), -10).clean(text) == cleaned
