"""Images held for a steward because of what their pixels may show."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.deid.pixel.visual_holds import (
    check_visual_holds,
    shows_face,
    shows_label,
    visual_features,
)
from pacsgrid.deid.profile import load_profile
from pacsgrid.errors import HeldError

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def slide(*kinds: str, label: str = "") -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = WHOLE_SLIDE, "SM"
    ds.ImageType = ["ORIGINAL", "PRIMARY", *kinds]
    if label:
        ds.SpecimenLabelInImage = label
    return ds


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (slide("LABEL", "NONE", label="YES"), True),
        (slide("LABEL", "NONE"), True),
        (slide("LABEL", "NONE", label="NO"), True),
        (slide("OVERVIEW", "NONE", label="YES"), True),
        (slide("OVERVIEW", "NONE"), True),
        (slide("OVERVIEW", "NONE", label="NO"), False),
        (slide("VOLUME", "NONE"), False),
        (slide("VOLUME", "NONE", label="YES"), True),
        (slide("THUMBNAIL", "RESAMPLED", label="NO"), False),
    ],
)
def test_slide_labels_wait_in_every_profile(image: Dataset, expected: bool) -> None:
    assert shows_label(image) is expected
    for name in ("basic", "research", "strict"):
        if expected:
            with pytest.raises(HeldError, match="label"):
                check_visual_holds(image, load_profile(name).pixels)
        else:
            check_visual_holds(image, load_profile(name).pixels)


def volume(spacing: float, thickness: float | None, matrix: int = 256, **header: object) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.Rows, ds.Columns = "MR", matrix, matrix
    ds.PixelSpacing = [spacing, spacing]
    if thickness is not None:
        ds.SliceThickness = thickness
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def _at(height: float) -> Dataset:
    position, frame = Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, height]
    frame.PlanePositionSequence = [position]
    return frame


def enhanced(place: str, **header: object) -> Dataset:
    """An enhanced MR volume of a head whose voxel size stands in one of the functional groups."""
    ds = volume(2, None, 128, **header)
    del ds.PixelSpacing
    ds.SOPClassUID, ds.BodyPartExamined = ENHANCED_MR, "BRAIN"
    measures, group = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 2], 2
    group.PixelMeasuresSequence = [measures]
    empty = Dataset()
    ds.SharedFunctionalGroupsSequence = [group if place == "shared" else empty]
    ds.PerFrameFunctionalGroupsSequence = [group if place == "frames" else empty] * 96
    if place == "later":
        ds.PerFrameFunctionalGroupsSequence = [empty, group]
    if place == "positions":
        del measures.SliceThickness
        ds.SharedFunctionalGroupsSequence = [group]
        ds.PerFrameFunctionalGroupsSequence = [_at(0), _at(1.5)]
    return ds


@pytest.mark.parametrize(
    "image",
    [
        enhanced("shared"),
        enhanced("frames"),
        enhanced("later"),
        enhanced("positions"),
        volume(1, 1, BodyPartExamined="HEAD"),
        volume(1, 1, SeriesDescription="MEMPRAGE_4e_p2_1mm_iso RMS", MRAcquisitionType="3D"),
        volume(1, 1, SeriesDescription="anat-T1w_acq-tfl"),
        volume(0.9, 0.9, ProtocolName="t1_mprage_sag_p2_iso"),
        volume(1, 1, SequenceName="*tfl3d1_16ns"),
        volume(1, 1, SeriesDescription="Sag 3D FLAIR Cube"),
        volume(1, 1, SeriesDescription="t2_space_sag_iso"),
        volume(1, 1, SeriesDescription="Ax FSPGR 3D"),
        volume(1, 1, StudyDescription="MR mozku nativně"),
        volume(1, 1, StudyDescription="MR głowy"),
        volume(0.8, 0.8, 280, SeriesDescription="t1 3d iso", MRAcquisitionType="3D"),
        volume(float("nan"), 1, BodyPartExamined="HEAD"),
        volume(1, float("inf"), BodyPartExamined="BRAIN"),
        volume(0.98, 1.5, 512, Modality="CT", SeriesDescription="WB 1.5 B30f"),
        volume(0.5, 0.6, 512, Modality="CT", SeriesDescription="NCCT 0.6"),
    ],
    ids=lambda ds: str(ds.get("SeriesDescription", ds.get("BodyPartExamined", ""))),
)
def test_a_face_is_seen_whatever_names_the_head(image: Dataset) -> None:
    assert shows_face(image)
    assert visual_features(image) == "YES"
    with pytest.raises(HeldError, match="face"):
        check_visual_holds(image, PixelSettings())


@pytest.mark.parametrize(
    "image",
    [
        volume(1, 5, BodyPartExamined="BRAIN"),
        volume(3, 3, 72, SeriesDescription="DWI_dir80_PA", BodyPartExamined="BRAIN"),
        volume(0.6, 0.6, SeriesDescription="3D PD SPACE knee", MRAcquisitionType="3D"),
        volume(1, 1, SeriesDescription="T1w VIBE abdomen", MRAcquisitionType="3D"),
        volume(1, 1, StudyDescription="MR kolene", SeriesDescription="t1w iso"),
        volume(1.5, 1.5, SeriesDescription="vibe dyn", MRAcquisitionType="3D"),
        volume(0.4, 0.4, SeriesDescription="dess iso", MRAcquisitionType="3D"),
        volume(0.7, 1, 512, Modality="CT", SeriesDescription="Lung 1.0 MPR cor"),
        volume(0.7, 1, 512, Modality="CT", BodyPartExamined="CHEST", SeriesDescription="MPR"),
        volume(0.7, 1, 512, Modality="CT", SeriesDescription="1.0 B30f"),
        Dataset(),
    ],
    ids=lambda ds: str(ds.get("SeriesDescription", ds.get("BodyPartExamined", ""))),
)
def test_what_shows_no_face_goes_on(image: Dataset) -> None:
    assert not shows_face(image)
    check_visual_holds(image, PixelSettings())
