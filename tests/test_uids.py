"""Nothing but UIDs, subjects and references becomes part of a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsgrid import grid
from pacsgrid.errors import HeldError, ZoneError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.manifest import Manifest
from pacsgrid.pipeline.release_layout import path_in_project
from pacsgrid.uids import (
    collection,
    has_digits_and_dots,
    inside,
    is_archived_uid,
    is_numeric_uid,
    is_single_value,
    is_uid,
    named,
    place,
)

NO_UIDS = [
    "", ".", "..", "1", "1.", ".1", "1..2", "1.2..3", "1.2.3.", "3.4", "1.2/3", "1.2/../3", "/1.2",
    "1.2.840.10008./../x", "1.2\0", "1.2\n", "1.2 ", "1.2.x", "１.２", "1.²", "Kvapilova.Zdenka",
    "1." + "2" * 63, "1.2\\1.3", "-1.2", "7654321",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_UIDS)
def test_what_is_no_uid_is_no_path(tmp_path: Path, text: str) -> None:
    assert not is_uid(text)
    for make in (
        lambda: place(tmp_path, "1.2", text),
        lambda: place(tmp_path, text, suffix=".dcm"),
        lambda: collection("/zone/home", text),
        lambda: grid.study_collection("brno", "demo", "S1", text),
        lambda: grid.object_path("brno", "demo", row(series=text)),
        lambda: grid.object_path("brno", "demo", row(sop=text)),
        lambda: path_in_project(row(study=text)),
    ):
        with pytest.raises(HeldError, match="not-uid") as refusal:
            make()
        assert not text.strip(" .") or text.strip() not in str(refusal.value).replace("9.1", "")


@pytest.mark.parametrize("text", ["1.2", "0.1", "2.25.0", "1.2.003.04", "1." + "2" * 62])
def test_uids_are(tmp_path: Path, text: str) -> None:
    assert is_uid(text)
    assert place(tmp_path, "1.2", text, suffix=".dcm") == tmp_path / "1.2" / f"{text}.dcm"


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "/a", "a.b", ".a", "a\0", "é", "a" * 65])
def test_subjects_and_references(text: str) -> None:
    with pytest.raises(HeldError, match="not-uid"):
        named(text)
    with pytest.raises(HeldError, match="not-uid"):
        grid.study_collection("brno", "demo", text, "1.2")


def test_a_path_that_leads_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert inside(out, out / "a" / "b") == out / "a" / "b"
    for path in (out, tmp_path / "x", out / ".." / "x", Path("/etc/x"), tmp_path / "out2" / "x"):
        with pytest.raises(HeldError, match="not-uid"):
            inside(out, path)


def row(study: str = "1.2", series: str = "1.2.3", sop: str = "1.2.3.4") -> InstanceRecord:
    return InstanceRecord(study, series, sop, "S1", "CT", "ab" * 32, 10)


def test_a_manifest_names_instances_by_uids() -> None:
    for bad in (row(series="../x"), row(sop="a/b"), row(sop="..")):
        text = Manifest.build([bad], {}, "demo", "basic", "hash", None).dump()
        with pytest.raises(ZoneError, match="not a UID"):
            Manifest.parse(text)
    assert Manifest.parse(Manifest.build([row()], {}, "demo", "basic", "h", None).dump()).instances


def test_uids_that_archives_hold_may_have_letters() -> None:
    assert all(map(is_archived_uid, ("1", "1.2.840.10008.1.1", "2.25." + "9" * 59, "dccc95")))
    wrong = (
        "",
        "1..2",
        ".1",
        "1.",
        "1/2",
        "..",
        "1.2.840.10008./../x",
        "1\\2",
        "1 ",
        "1" * 65,
        "ů",
    )
    assert not any(map(is_archived_uid, wrong))


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("1.2.003", {is_uid, is_numeric_uid, is_archived_uid, has_digits_and_dots}),
        ("9.8.7", {is_numeric_uid, is_archived_uid, has_digits_and_dots}),
        ("1", {is_numeric_uid, is_archived_uid, has_digits_and_dots}),
        ("1..2", {has_digits_and_dots}),
        ("dccc95", {is_archived_uid}),
        ("a_b-c", set()),
    ],
)
def test_each_rule_accepts_what_it_is_for(text: str, rules: set[object]) -> None:
    every = {is_uid, is_numeric_uid, is_archived_uid, has_digits_and_dots}
    assert {rule for rule in every if rule(text)} == rules
    assert is_single_value(text)


@pytest.mark.parametrize("text", ["", "1.2*", "1.?", "1.2\\1.3", "1.2 ", "1" * 129])
def test_a_query_for_one_study_has_no_wild_card(text: str) -> None:
    assert not is_single_value(text)
