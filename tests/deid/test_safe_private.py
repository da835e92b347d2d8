"""Our copy of Table E.3.10-1 (PS3.15 2026c) against other publications of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import private_dictionaries
from pydicom.dataset import Dataset

from pacsgrid.deid import (
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.deid.safe_private import standard_list, table
from pacsgrid.errors import ConfigError, HeldError
from support.dicom import ct, save

DATA = Path(__file__).parents[1] / "data"
PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")
_DD = "Philips Imaging DD 001"


def elsewhere() -> set[tuple[str, int, int]]:
    """What PixelMed's de-identifier keeps, without what it takes beyond the standard's table."""
    found = set()
    for line in (DATA / "safe-private-pixelmed.csv").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            creator, group, elements = line.split(";")
            found |= {(creator, int(group, 16), int(low, 16)) for low in elements.split()}
    return found


def test_the_table_holds_what_the_edition_has() -> None:
    assert len(table()) == 479
    assert table() > elsewhere()
    assert {("Philips PET Private Group", 0x7053, 0), ("GEMS_PARM_01", 0x43, 0x39)} <= table()
    # Lists in circulation have these from other sources; the standard does not.
    for creator in ("GEMS_SENO_02", "LORAD Selenia", "Philips US Imaging DD 033", "Eigen Artemis"):
        assert not [row for row in table() if row[0] == creator]
    assert ("HOLOGIC, Inc.", 0x0019, 0x25) not in table()


def test_creators_are_spelt_as_their_makers_do() -> None:
    """A creator that is compared letter by letter must be the one that stands in files."""
    known = {creator.casefold(): creator for creator in private_dictionaries}
    for creator in {creator for creator, _, _ in table()}:
        assert known.get(creator.casefold(), creator) == creator


def _with(path: Path, creator: str, group: int, low: int, vr: str, value: Any) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1"))
    ds.private_block(group, creator, create=True).add_new(low, vr, value)
    return save(ds, path)


def _run(path: Path) -> Dataset:
    profile = load_profile("research")
    identifiers = collect_identifiers([path])
    made = anonymise_file(path, path.parent / "out", PSEUDONYMS, profile, identifiers)
    check_file(path, made.path, profile)
    return dcmread(made.path)


@pytest.mark.parametrize(
    ("creator", "group", "low", "vr", "value", "stays"),
    [
        (_DD, 0x2001, 0x03, "FL", 1000.0, True),
        (_DD, 0x2001, 0x0B, "CS", "TRANSVERSAL", True),
        (_DD, 0x2001, 0x0B, "CS", "NOVAKOVA", False),
        (_DD, 0x2001, 0x5A, "ST", "viz Nováková", False),
        (_DD, 0x2001, 0x7D, "OW", b"\0" * 64, False),
        ("Philips ST80i", 0x0025, 0x01, "OW", b"\1\2" * 8, True),
        ("SIEMENS Ultrasound SC2000", 0x7FD1, 0x11, "OB", b"Novakova, Zofie ", False),
        ("HOLOGIC, Inc.", 0x0019, 0x25, "SH", "1", False),
        # Safe in another group, of another maker: not safe.
        (_DD, 0x2003, 0x03, "FL", 1000.0, False),
        ("ACME", 0x2001, 0x03, "FL", 1000.0, False),
    ],
)
def test_what_is_safe_stays_unless_its_value_is_not(
    tmp_path: Path, creator: str, group: int, low: int, vr: str, value: Any, stays: bool
) -> None:
    made = _run(_with(tmp_path / "in.dcm", creator, group, low, vr, value))
    left = made.get((group, 0x1000 | low))
    assert (left is not None and left.value == value) == stays


def test_an_unsafe_element_of_a_safe_creator_is_refused(tmp_path: Path) -> None:
    assert (_DD, 0x2001, 0x7D) not in standard_list()
    path = _with(tmp_path / "in.dcm", _DD, 0x2001, 0x03, "FL", 1.0)
    profile = load_profile("research")
    made = anonymise_file(
        path, tmp_path / "out", PSEUDONYMS, profile, collect_identifiers([path])
    ).path
    ds = dcmread(made)
    ds.private_block(0x2001, _DD).add_new(0x0D, "LO", "1")
    ds.save_as(made)
    with pytest.raises(HeldError, match="private-left"):
        check_file(path, made, profile)


@pytest.mark.parametrize(
    "creator",
    ["PHILIPS IMAGING DD 001", "philips imaging dd 001", "Philips  Imaging DD 001 ",
     "Philips Imaging DD 001\0"],
)  # fmt: skip
def test_creators_match_as_devices_write_them(tmp_path: Path, creator: str) -> None:
    assert _run(_with(tmp_path / "in.dcm", creator, 0x2001, 0x03, "FL", 1000.0))[0x20011003]
    # Not everything of that creator, and without a VR of its own by the dictionary's.
    assert 0x20011001 not in _run(_with(tmp_path / "in.dcm", creator, 0x2005, 0x01, "FL", 1.0))
    ds = dcmread(_with(tmp_path / "in.dcm", creator, 0x2001, 0x03, "UN", b"\0\0\x7a\x44"))
    assert _run(save(ds, tmp_path / "in.dcm"))[0x20011003].value == 1000.0


def _own(tmp_path: Path, entry: str) -> Any:
    path = tmp_path / "own.yaml"
    path.write_text(f"name: own\nsafe_private: [{entry}]\n")
    return load_profile(str(path))


@pytest.mark.parametrize(
    "entry",
    ['{creator: "ACME", group: 0043, element: "39"}',
     '{creator: "ACME", group: "0043", element: 39}',
     '{creator: "ACME", group: 0x43, element: "39"}',
     '{creator: "ACME", group: 4.3, element: "39"}',
     '{creator: 12, group: "0043", element: "39"}',
     '{creator: "ACME", group: "0043", element: no}'],
)  # fmt: skip
def test_numbers_without_quotes_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigError, match="in quotes"):
        _own(tmp_path, entry)


@pytest.mark.parametrize(
    "entry",
    ['{creator: "ACME", group: "0042", element: "39"}',
     '{creator: "", group: "0043", element: "39"}',
     '{creator: "ACME", group: "43x", element: "39"}', '{creator: "ACME", group: "0043"}',
     '{creator: "ACME", group: "0043", element: ""}',
     '{creator: "ACME", group: "1", element: "1"}'],
)  # fmt: skip
def test_what_is_no_private_element_is_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigError, match="safe_private"):
        _own(tmp_path, entry)


def test_a_profiles_own_element_and_no_other(tmp_path: Path) -> None:
    profile = _own(tmp_path, '{creator: "Acme Scanner", group: "0043", element: "39"}')
    path = _with(tmp_path / "in.dcm", "ACME SCANNER", 0x0043, 0x39, "IS", "1000")
    ds = dcmread(path)
    ds.private_block(0x0023, "ACME SCANNER", create=True).add_new(0x39, "IS", "7")
    save(ds, path)
    made = anonymise_file(path, tmp_path / "out", PSEUDONYMS, profile, collect_identifiers([path]))
    check_file(path, made.path, profile)
    assert dcmread(made.path)[0x00431039].value == 1000
    assert 0x00231039 not in dcmread(made.path)


def test_an_overrides_tag_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\noverrides: [{tag: 00100020, action: X, reason: none}]\n")
    with pytest.raises(ConfigError, match="in quotes"):
        load_profile(str(path))
