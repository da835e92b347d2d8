"""A result's record of its de-identification is true; leftovers of the source are gone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from corpus.validity import DCIODVFY, new_errors
from pacsgrid.deid import (
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from support.burned_in import draw
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save
from support.images import header, write

METHODS = {
    "uids": "113110", "device": "113109", "institution": "113112", "patient": "113108",
    "full": "113106", "modified": "113107", "descriptors": "113105", "structured": "113104",
    "private": "113111", "graphics": "113103",
}  # fmt: skip


def run(path: Path, text: str) -> Dataset:
    """Anonymise with a profile of one's own, and check."""
    written = path.parent / "own.yaml"
    written.write_text("name: own\n" + text)
    return dcmread(checked(path, load_profile(str(written))).path)


@pytest.mark.parametrize("option", [*METHODS, ""])
def test_the_method_names_the_options_that_were_applied(tmp_path: Path, option: str) -> None:
    path = ct(tmp_path / "a", "1.2.3", "1.2.3.1")
    made = run(path, f"options: [{option}]\npixels: {{look: none}}\n")
    assert made.PatientIdentityRemoved == "YES"
    assert made.DeidentificationMethod.startswith("pacsgrid own ")
    codes = [item.CodeValue for item in made.DeidentificationMethodCodeSequence]
    assert codes == ["113100", *([METHODS[option]] if option else [])]
    said = {"full": "UNMODIFIED", "modified": "MODIFIED"}.get(option, "REMOVED")
    assert made.LongitudinalTemporalInformationModified == said


def test_what_was_no_part_of_the_object_is_gone(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.1"))
    ds.add_new(0x00080000, "UL", 400)
    ds.add_new(0xFFFCFFFC, "OB", b"Nov\0")
    ds.file_meta.SourceApplicationEntityTitle = "CT7ROOM"
    ds.file_meta.ImplementationVersionName = "SCANNER_1"
    ds.preamble = b"II*\0" + b"Novakova" + bytes(116)
    made = run(save_as_is(ds, tmp_path / "a"), "options: []\npixels: {look: none}\n")
    assert made.preamble == bytes(128)
    assert 0x00080000 not in made and 0xFFFCFFFC not in made
    assert "SourceApplicationEntityTitle" not in made.file_meta
    assert made.file_meta.ImplementationVersionName == "PACSGRID_0_1"
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID


def save_as_is(ds: Dataset, path: Path) -> Path:
    ds.save_as(path)
    return path


@pytest.mark.parametrize(
    ("claimed", "pixels", "left", "blank"),
    [
        ("YES", "{look: none}", "YES", False),  # nobody looked: it still shows what it showed
        ("", "{look: none}", None, False),
        ("YES", "{look: risky}", "NO", True),
        ("NO", "{look: all}", "NO", True),
    ],
)
def test_burned_in_annotation_is_what_somebody_saw(
    tmp_path: Path, claimed: str, pixels: str, left: str | None, blank: bool
) -> None:
    frames = np.full((1, 240, 320), 40, np.uint8)
    draw(frames[0], random.Random(5), 20, 1.0, "tl", False)
    ds = header("CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    if claimed:
        ds.BurnedInAnnotation = claimed
    path = write(tmp_path / "a", ds, frames, "MONOCHROME2")
    made = run(path, f"hold_burned_in: false\npixels: {pixels}\n")
    assert made.get("BurnedInAnnotation") == left
    assert ("113101" in [i.CodeValue for i in made.DeidentificationMethodCodeSequence]) == blank
    assert (len(np.unique(made.pixel_array)) == 1) == blank


@pytest.mark.parametrize(
    ("change", "claimed", "left"),
    [
        ({"BodyPartExamined": "HEAD", "SliceThickness": 1}, "", "YES"),
        ({"BodyPartExamined": "HEAD", "SliceThickness": 1}, "NO", "YES"),
        ({"BodyPartExamined": "HEAD", "SliceThickness": 5}, "", None),
        ({"BodyPartExamined": "CHEST", "SliceThickness": 1}, "", "NO"),
        ({"BodyPartExamined": "CHEST", "StudyDescription": "head and chest"}, "", None),
        ({"BodyPartExamined": "", "SliceThickness": 1}, "YES", "YES"),
    ],
)
def test_recognisable_features_are_never_denied_of_a_head(
    tmp_path: Path, change: dict[str, Any], claimed: str, left: str | None
) -> None:
    ds = header("MR")
    ds.PixelSpacing = [1, 1]
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    if claimed:
        ds.RecognizableVisualFeatures = claimed
    path = write(tmp_path / "a", ds, np.zeros((1, 240, 320), np.int16), "MONOCHROME2")
    made = run(path, "pixels: {look: none, hold: []}\n")
    assert made.get("RecognizableVisualFeatures") == left


RULE = """
pixels:
  look: risky
  hold: []
  outside_ultrasound_regions: look
  regions:
    - {modality: US, manufacturer: ^acme, model: "^E ?10", rows: 240, columns: 320,
       blank: [[0, 0, 320, 30], [300, 200, 320, 240]]}
"""


@pytest.mark.parametrize(
    ("change", "applies"),
    [
        ({}, True),
        ({"Manufacturer": "Acme Ltd", "ManufacturerModelName": "E 10"}, True),
        ({"Manufacturer": "Not Acme"}, False),
        ({"ManufacturerModelName": "F10"}, False),
        ({"Modality": "CR"}, False),
        ({"Rows": 239}, False),
    ],
)
def test_a_rule_blanks_where_a_model_writes(
    tmp_path: Path, change: dict[str, Any], applies: bool
) -> None:
    ds = header("US")
    ds.Manufacturer, ds.ManufacturerModelName = "ACME", "E10"
    rows = change.pop("Rows", 240)
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    smooth = np.add.outer(np.arange(rows), np.arange(320)) // 4 + 20
    frames = np.stack([smooth.astype(np.uint8)] * 2)
    made = run(write(tmp_path / "a", ds, frames, "MONOCHROME2"), RULE).pixel_array
    blank = np.zeros((rows, 320), bool)
    if applies:
        blank[:30] = blank[200:, 300:] = True
    assert (made[:, blank] == 20).all()
    assert (made[:, ~blank] == frames[:, ~blank]).all()


@pytest.mark.parametrize(
    ("maker", "model", "rows", "columns", "box"),
    [
        ("Philips Medical Systems", "CX50", 600, 800, (0, 0, 800, 60)),
        ("GE Healthcare", "LOGIQ 700", 480, 640, (480, 24, 640, 110)),
        ("ALOKA CO., LTD.", "SSD-4000", 480, 640, (0, 0, 640, 24)),
    ],
)
def test_models_that_are_known_are_blanked_by_every_profile(
    tmp_path: Path, maker: str, model: str, rows: int, columns: int, box: tuple[int, ...]
) -> None:
    ds = header("US")
    ds.Manufacturer, ds.ManufacturerModelName = maker, model
    frames = np.full((1, rows, columns), 90, np.uint8)
    frames[0, 200:300, 200:300] = 5  # the darkest value, which blanked pixels get
    made = run(write(tmp_path / "a", ds, frames, "MONOCHROME2"), "pixels: {look: risky}\n")
    left, top, right, bottom = box
    assert (made.pixel_array[top:bottom, left:right] == 5).all()
    assert (made.pixel_array[bottom:200] == 90).sum() > 0


def presentation(path: Path) -> Path:
    """A presentation state that draws a line, writes a text and names a patient in both."""
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1"))
    for keyword in ("Rows", "Columns", "PixelData", "SamplesPerPixel", "PhotometricInterpretation",
                    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):  # fmt: skip
        delattr(ds, keyword)
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.11.1", "PR"
    text, line, both, layer = Dataset(), Dataset(), Dataset(), Dataset()
    text.BoundingBoxAnnotationUnits, text.UnformattedTextValue = "PIXEL", "Nováková 12 mm"
    text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner = [1, 1], [9, 9]
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    line.GraphicAnnotationUnits, line.GraphicDimensions, line.NumberOfGraphicPoints = "PIXEL", 2, 2
    line.GraphicData, line.GraphicType, line.GraphicFilled = [1, 2, 3, 4], "POLYLINE", "N"
    both.GraphicLayer, both.TextObjectSequence, both.GraphicObjectSequence = "L1", [text], [line]
    layer.GraphicLayer, layer.GraphicLayerOrder = "L1", 1
    layer.GraphicLayerDescription = "measured for Mrs Nováková"
    ds.GraphicAnnotationSequence, ds.GraphicLayerSequence = [both], [layer]
    ds.ContentLabel, ds.ContentDescription = "MEASURED", "of Nováková"
    ds.PresentationCreationDate, ds.PresentationCreationTime = "20240103", "101500"
    ds.ContentCreatorName = "Dvořák^Jiří"
    image, series = Dataset(), Dataset()
    image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.ReferencedSOPInstanceUID = "1.2.3.2"
    series.SeriesInstanceUID, series.ReferencedImageSequence = "1.2.3.9", [image]
    ds.ReferencedSeriesSequence = [series]
    return save(ds, path)


@pytest.mark.parametrize("name", ["basic", "research", "strict"])
def test_a_presentation_state_keeps_its_lines_and_loses_the_names(
    tmp_path: Path, name: str
) -> None:
    path = presentation(tmp_path / "a")
    profile = load_profile(name)
    made = anonymise_file(path, tmp_path / "out", PSEUDONYMS, profile, collect_identifiers([path]))
    check_file(path, made.path, profile)
    assert not any(value.encode() in made.path.read_bytes() for value in ("ovákov", "vořák"))
    ds = dcmread(made.path)
    (annotation,) = ds.GraphicAnnotationSequence
    assert list(annotation.GraphicObjectSequence[0].GraphicData) == [1, 2, 3, 4]
    text = annotation.TextObjectSequence[0].UnformattedTextValue
    assert text == ("*** 12 mm" if name == "research" else "REMOVED")
    reference = ds.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == PSEUDONYMS.uid("1.2.3.2")
    if DCIODVFY:
        assert new_errors(path, made.path) == []
