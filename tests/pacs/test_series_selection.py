"""Rules about series: what they match, what they leave open, and what is no rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pacsgrid.config import ContentChecks, SeriesRule, SeriesSelection, parse_selection
from pacsgrid.config.series import parse_limits
from pacsgrid.errors import ConfigError
from pacsgrid.model import SeriesFacts
from pacsgrid.pacs.series_selection import Decision, decide, matches
from pacsgrid.pacs.slice_header import SliceHeader, facts_of, read_slice
from pacsgrid.pipeline.content_checks import find_problems
from support.series import AXIAL, series

CT = SeriesFacts(
    "1.2.3",
    modality="CT",
    description="Thorax 1.0 B70f",
    body_part="CHEST",
    image_types=frozenset({"ORIGINAL\\PRIMARY\\AXIAL", "DERIVED\\SECONDARY"}),
    sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.2"}),
    thicknesses=frozenset({1.0, 1.25}),
    instances=200,
)
UNKNOWN = SeriesFacts("1.2.3", modality="CT")


@pytest.mark.parametrize(
    ("line", "holds", "unknown"),
    [
        ("modality=CT", True, True),
        ("modality=^MR$", False, False),
        ("description=thorax.*b70", True, None),
        ("body_part=^CHEST$", True, None),
        ("image_type=AXIAL", True, None),
        ("image_type=LOCALIZER", False, None),
        ("sop_class=CT Image Storage", True, None),
        ("sop_class=1\\.1\\.2$", True, None),
        ("slice_thickness<=1", True, None),
        ("slice_thickness<1", False, None),
        ("slice_thickness=1.2-1.3", True, None),
        ("instances>=200; description=thorax", True, None),
        ("instances>200", False, None),
        ("modality=MR; description=thorax", False, False),
    ],
)
def test_rules(line: str, holds: bool, unknown: bool | None) -> None:
    (rule,) = parse_selection([line], []).include
    assert matches(rule, CT) is holds
    assert matches(rule, UNKNOWN) is unknown


def test_a_selection_names_the_rule_that_leaves_a_series_out() -> None:
    selection = parse_selection(["modality=CT"], ["description=scout", "instances<3"])
    assert decide([("", selection)], CT) == Decision(True)
    assert decide([("", selection)], UNKNOWN) == Decision(None)
    few = SeriesFacts("1", modality="CT", description="thorax", instances=2)
    assert decide([("", selection)], few) == Decision(False, "exclude 2")
    # What is open does not hide a rule that says no.
    assert decide([("", selection)], SeriesFacts("1", instances=2)) == Decision(False, "exclude 2")
    other = SeriesFacts("1", modality="MR", description="brain", instances=9)
    assert decide([("run's ", selection)], other) == Decision(False, "run's include")
    assert decide([("", SeriesSelection())], UNKNOWN) == Decision(True)


def test_a_pattern_from_outside_takes_linear_time_and_bounded_memory() -> None:
    (rule,) = parse_selection([r"description=^(([a-z])+.)+[0-9]([a-z])+$"], []).include
    # Python's own re needs 2^n steps for this.
    assert matches(rule, SeriesFacts("1", description="a" * 1000)) is False
    for pattern in (r"\pL{1000}\pN{1000}", "(a", "a{1000}{1000}", "x" * 201, r"(a)\1"):
        with pytest.raises(ValidationError):
            SeriesRule(description=pattern)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("modality", "condition 1 is not of the form"),
        ("modality=CT; Novák", "condition 2 is not of the form"),
        ("modality<CT", "needs slice_thickness or instances"),
        ("modality=CT; modality=MR", "is there twice"),
        ("slice_thickness<thin", "must be a number"),
        ("instances=9-3", "swap them"),
        ("patient=Novák", "there is no such key"),
        ("description=(Novák", "is no regular expression that RE2 takes: missing"),
    ],
)
def test_what_is_no_rule_is_refused_without_being_quoted(line: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_selection(["modality=CT", line], [])
    assert told in str(error.value) and "Novák" not in str(error.value)


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValidationError, match="would match every series"):
        SeriesRule()
    with pytest.raises(ValidationError, match="which series should there be"):
        ContentChecks(missing_series="warn")
    assert 1.5 in parse_limits("<=1.5") and 1.5 not in parse_limits("<1.5")


def test_headers_say_what_a_source_may_not(tmp_path: Path) -> None:
    files = series(tmp_path, "1.2.9", 1, 3, "Břicho 1.0")
    (facts,) = facts_of(map(read_slice, files)).values()
    assert (facts.description, facts.instances) == ("Břicho 1.0", 3)
    assert facts.thicknesses == {1.0} and facts.image_types == {"ORIGINAL\\PRIMARY\\AXIAL"}
    text = tmp_path / "notes.txt"
    text.write_text("no DICOM")
    assert read_slice(text) == SliceHeader()


def _volume(positions: list[float], numbers: list[int], **more: str) -> list[SliceHeader]:
    return [
        SliceHeader("1.2", f"1.2.{n}", number=number, position=(0, 0, z), orientation=AXIAL, **more)
        for n, (z, number) in enumerate(zip(positions, numbers, strict=True))
    ]


ON = ContentChecks(missing_slices="warn", mixed_orientations="warn")


@pytest.mark.parametrize(
    ("positions", "numbers", "told"),
    [
        ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5], ""),
        ([0, 1, 2, 4, 5, 6], [1, 2, 3, 5, 6, 7], "about 1 slices are missing by position"),
        # Numbered in steps of two, as devices do, nothing is missing.
        ([0, 1, 2, 3, 4], [1, 3, 5, 7, 9], ""),
        ([0, 1, 2, 3, 4], [1, 2, 3, 5, 6], "1 Instance Numbers are missing between 1 and 6"),
        # Two volumes, one of which lacks a slice.
        ([0, 1, 2, 3, 0, 1, 2], [1, 2, 3, 4, 5, 6, 7], "1 slices are missing at 1 of 4 positions"),
        ([0, 1, 2, 3, 0, 1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8], ""),
        ([0, 1], [1, 9], ""),
    ],
)
def test_missing_slices(positions: list[float], numbers: list[int], told: str) -> None:
    found = find_problems(ON, _volume(positions, numbers))
    assert [one.code for one in found] == (["missing-slices"] if told else [])
    assert told in "".join(one.detail for one in found)


def test_a_localizer_may_have_any_orientation() -> None:
    slices = _volume([0, 5], [1, 2], image_type="ORIGINAL\\PRIMARY\\LOCALIZER")
    turned = SliceHeader("1.2", "1", position=(0, 0, 0), orientation=(1, 0, 0, 0, 0, -1), number=3)
    assert find_problems(ON, [*slices, turned]) == []
    (found,) = find_problems(ON, [*_volume([0, 5], [1, 2]), turned])
    assert found.detail == "its slices have 2 orientations (2, 1 slices)"
