"""Faces are removed from volumes of heads; brain and geometry stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from pacsgrid.deid.check.face_relief import check_face_gone
from pacsgrid.deid.faces.marks import METHOD
from pacsgrid.deid.processing import ProcessedFiles, StudyProcessor
from pacsgrid.deid.profile import Profile, load_profile
from pacsgrid.deid.pseudonyms import Pseudonyms
from pacsgrid.errors import HeldError
from support.heads import MRICRON, Head, Variant, colin, scan, write_series

pytestmark = pytest.mark.skipif(
    not (MRICRON / "ch2.nii.gz").exists(), reason="Debian's mricron-data is not installed"
)
FINE = Variant(rotation=(6, 0, -4), spacing=(2, 2, 2), noise=8)


@pytest.fixture(scope="module")
def head() -> Head:
    return scan(colin(), FINE)


def profile(tmp_path: Path, faces: str) -> Profile:
    path = tmp_path / f"{faces}.yaml"
    path.write_text(f"name: {faces}\npixels: {{look: none}}\nfaces: {faces}\n")
    return load_profile(str(path))


def process(files: list[Path], tmp_path: Path, faces: str = "remove") -> ProcessedFiles:
    pseudonyms = Pseudonyms(b"k" * 32, "demo")
    with StudyProcessor(pseudonyms, profile(tmp_path, faces), processes=1) as processor:
        return processor.process_study(files, tmp_path / "out")


def test_face_becomes_air_and_the_brain_stays(head: Head, tmp_path: Path) -> None:
    files = write_series(head, tmp_path / "in")
    done = process(files, tmp_path)
    assert not done.held, done.held[0].detail
    results = [dcmread(one.made.path) for one in done.outcomes if one.made]
    after = np.stack([ds.pixel_array for ds in results])
    changed = after != head.values
    assert changed.mean() > 0.02
    assert not changed[head.brain].any()
    assert (after[changed] == 0).all()
    for path, ds in zip(files, results, strict=True):
        source = dcmread(path)
        assert ds.RecognizableVisualFeatures == "NO"
        assert ds.DeidentificationMethod[1] == METHOD
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            assert ds.get(keyword) == source.get(keyword)


def test_series_with_a_gap_is_held_with_the_reason(head: Head, tmp_path: Path) -> None:
    files = write_series(head, tmp_path / "in")
    done = process(files[:40] + files[44:], tmp_path)
    assert {one.code for one in done.outcomes} == {"face"}
    assert "slices are missing" in done.outcomes[0].detail


@pytest.mark.parametrize(("faces", "held"), [("hold", True), ("keep", False)])
def test_profile_holds_or_keeps_faces(head: Head, tmp_path: Path, faces: str, held: bool) -> None:
    few = replace(head, values=head.values[:2])
    done = process(write_series(few, tmp_path / "in"), tmp_path, faces)
    assert [one.code for one in done.outcomes] == ["face" if held else ""] * 2


def test_checker_sees_a_face_that_stays(head: Head, tmp_path: Path) -> None:
    files = write_series(head, tmp_path / "in")

    def nothing(path: Path, frame: int, rows: int, columns: int) -> NDArray[np.bool_]:
        return np.zeros((rows, columns), np.bool_)

    def lower_half(path: Path, frame: int, rows: int, columns: int) -> NDArray[np.bool_]:
        return np.full((rows, columns), files.index(path) < 8)

    for mask in (nothing, lower_half):
        with pytest.raises(HeldError) as refused:
            check_face_gone(files, mask)
        assert refused.value.code == "face-left"
