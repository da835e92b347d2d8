"""Properties that hold for any dataset that pydicom can read, tested with hypothesis.

``make deid-properties`` tries thousands of datasets.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from corpus.files import real_files
from pacsgrid.deid import (
    Profile,
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.deid.identifiers import StudyIdentifiers
from pacsgrid.deid.text_cleaner import TextCleaner
from pacsgrid.errors import HeldError
from pacsgrid.log_suppression import pydicom_suppressed
from support.dicom import ct

# The same examples on every run, unless somebody looks longer.
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))
settings.register_profile(
    "deid",
    max_examples=EXAMPLES or 50,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("deid")

PSEUDONYMS = Pseudonyms(b"p" * 32, "properties")
PROFILES = ["basic", "research", "strict"]
TAGS = sorted(tag for tag in DicomDictionary if 0x00080000 <= tag < 0x7FE00000)
SEQUENCES = [tag for tag in TAGS if DicomDictionary[tag][0] == "SQ"]
WORDS = st.sampled_from(
    ["Nováková", "novak", "ŽOFIE", "20240102", "1.2.3.4", "2024-01-02", "756203/1234", "A^B", "",
     "T2W TSE", "\0", "REMOVED", "***", "75 y", "John Doe, 12 Elm Street", "+420 603 123 456"]
)  # fmt: skip
TEXTS = st.one_of(WORDS, st.text(max_size=24), st.lists(WORDS, max_size=4).map(" ".join))


@st.composite
def elements(draw: st.DrawFn) -> tuple[int, str, bytes]:
    """An element as bytes: of its own VR or another, with a right value or any."""
    if draw(st.integers(0, 9)) == 0:
        tag = draw(st.integers(0, 0xFF)) << 17 | 1 << 16 | draw(st.integers(0x10, 0x1FFF))
    else:
        tag = draw(st.sampled_from(TAGS))
    own = DicomDictionary[tag][0].split(" ")[0] if tag in DicomDictionary else "LO"
    own = own if own != "SQ" else "UT"
    vr = own if draw(st.booleans()) else draw(st.sampled_from(["UN", "LO", "DS", "CS", "US", "PN"]))
    value = draw(
        st.one_of(
            TEXTS.map(lambda text: text.encode("utf-8", "replace")),
            st.binary(max_size=20),
            st.sampled_from([b"20240102", b"101112.5", b"042Y", b"1.5\\2", b"\1\0\2\0"]),
        )
    )
    return tag, vr, value + b" " * (len(value) % 2)


def dataset(draw: st.DrawFn, depth: int = 0) -> Dataset:
    """A dataset of such elements, with sequences three levels deep."""
    ds = Dataset()
    for tag, vr, value in draw(st.lists(elements(), max_size=8)):
        ds._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)  # type: ignore[index]
    if depth < 3:
        for tag in draw(st.lists(st.sampled_from(SEQUENCES), max_size=2)):
            ds.add_new(tag, "SQ", Sequence([dataset(draw, depth + 1)]))
    return ds


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file that pydicom can write and read, with a CT's own elements among others."""
    with tempfile.TemporaryDirectory() as folder:
        whole = dcmread(ct(Path(folder) / "a.dcm", "1.2.3", "1.2.3.4"))
    other = dataset(draw)
    kept = {tag for tag in list(whole.keys()) if draw(st.integers(0, 7)) or tag >> 16 == 0x28}
    for tag in list(other.keys()):
        if tag not in kept:
            whole._dict[tag] = other._dict[tag]  # type: ignore[index]
    if draw(st.integers(0, 4)) == 0:
        with pydicom_suppressed():
            whole.SpecificCharacterSet = draw(
                st.sampled_from(["", "ISO_IR 100", "ISO 2022 IR 87", "GB18030", "nonsense"])
            )
    syntax = draw(
        st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian,
                         DeflatedExplicitVRLittleEndian])
    )  # fmt: skip
    whole.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    try:
        with pydicom_suppressed():
            whole.save_as(
                out,
                implicit_vr=syntax.is_implicit_VR,
                little_endian=syntax.is_little_endian,
                enforce_file_format=True,
            )
            dcmread(BytesIO(out.getvalue()))
    except Exception:
        return b"not written"
    return out.getvalue()


def run(data: bytes, profile: str, times: int = 1) -> list[bytes]:
    """Anonymise the bytes of a file; empty when it is held."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.dcm"
        path.write_bytes(data)
        for number in range(times):
            try:
                made = anonymise_file(
                    path,
                    Path(folder) / str(number),
                    PSEUDONYMS,
                    load_profile(profile),
                    collect_identifiers([path]),
                )
            except HeldError as error:
                assert error.code and error.detail
                continue
            results.append(made.path.read_bytes())
    return results


@pytest.mark.parametrize("profile", PROFILES)
@given(data=files())
def test_nothing_but_held_and_twice_the_same(profile: str, data: bytes) -> None:
    results = run(data, profile, times=2)
    assert len(results) in (0, 2)
    assert len(set(results)) <= 1


@given(data=st.data())
def test_a_damaged_file_is_held_or_done(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([p for p in real_files() if p.stat().st_size < 20_000]))
    damaged = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    run(bytes(damaged), "research", times=1)


def step(path: Path, out: Path, profile: Profile) -> tuple[Path, str]:
    """Anonymise a file that is not held; return the result and what the checker has against it."""
    made = anonymise_file(path, out, PSEUDONYMS, profile, collect_identifiers([path])).path
    try:
        check_file(path, made, profile)
    except HeldError as error:
        return made, str(error)
    return made, ""


@pytest.mark.parametrize("profile", ["basic", "research"])
@given(data=files())
def test_what_came_out_goes_through_unchanged_but_for_pseudonyms(profile: str, data: bytes) -> None:
    made = load_profile(profile)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.dcm"
        path.write_bytes(data)
        try:
            once, against = step(path, Path(folder) / "once", made)
        except HeldError:
            return
        twice, still_against = step(once, Path(folder) / "twice", made)
        assert against or not still_against, still_against
        with pydicom_suppressed():
            assert list(_shape(dcmread(once))) == list(_shape(dcmread(twice)))


# Code values of local coding schemes (PS3.3 table 8.8-1): they have pseudonyms.
_CODES = (0x00080100, 0x00080119, 0x00080120)


def _shape(ds: Dataset, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each element's place, with its value where that is not derived from the source's."""
    for element in ds:
        place = f"{path}/{element.tag}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _shape(item, f"{place}[{number}]")
        elif element.VR in (
            "UI",
            "DA",
            "DT",
            "TM",
            "PN",
            "SH",
            "LO",
            "ST",
            "LT",
            "UT",
            "UC",
            "UR",
        ) or (
            # Pseudonyms, whatever VR the source gave them.
            int(element.tag) in (0x00100010, 0x00100020, 0x00080050, *_CODES)
        ):
            yield place, bool(element.value)
        else:
            yield place, repr(element.value)


@settings(max_examples=10)
@given(order=st.permutations(range(5)))
def test_the_order_of_files_changes_nothing(order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [ct(root / f"{n}.dcm", "1.2.3", f"1.2.3.{n}", fill=n) for n in range(5)]
        identifiers = collect_identifiers([paths[number] for number in order])
        profile = load_profile("research")
        sums = {
            number: anonymise_file(paths[number], root / "o", PSEUDONYMS, profile, identifiers)
            for number in order
        }
        straight = {
            number: anonymise_file(
                paths[number], root / "s", PSEUDONYMS, profile, collect_identifiers(paths)
            )
            for number in range(5)
        }
    assert {n: made.sha256 for n, made in sums.items()} == {
        n: made.sha256 for n, made in straight.items()
    }


@given(text=TEXTS, names=st.frozensets(TEXTS, max_size=3), days=st.sampled_from([None, 0, -30]))
def test_clean_text_holds_no_known_value(
    text: str, names: frozenset[str], days: int | None
) -> None:
    identifiers = StudyIdentifiers(names=names, ids=frozenset({"756203/1234"}))
    cleaner = TextCleaner(identifiers, PSEUDONYMS, days)
    cleaned = cleaner.clean(text)
    assert not identifiers.occur_in(cleaned)
    if days is None or days == 0:
        assert cleaner.clean(cleaned) == cleaned
