"""Pictures of held files, which may be broken or hostile."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from pacsgrid.errors import HeldError
from pacsgrid.pipeline.thumbnails import held_files, thumbnail
from support.dicom import ct, save


def _drawn(path: Path, edge: int = 256) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(thumbnail(path, edge), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(("kind", "left"), [("MONOCHROME2", 0), ("MONOCHROME1", 255)])
def test_a_picture_is_small_and_its_blacks_are_black(tmp_path: Path, kind: str, left: int) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
    ds.Rows, ds.Columns, ds.PhotometricInterpretation = 300, 600, kind
    ds.PixelData = np.repeat([[0, 3000]], 300, axis=0).repeat(300, axis=1).astype("<u2").tobytes()
    picture = _drawn(save(ds, tmp_path / "b.dcm"), 100)
    assert picture.shape == (50, 100)
    assert (picture[0, 0], picture[0, -1]) == (left, 255 - left)


def test_colours_keep_their_order(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = np.full((32, 32, 3), (200, 100, 10), np.uint8).tobytes()
    assert _drawn(save(ds, tmp_path / "b.dcm"))[0, 0].tolist() == [10, 100, 200]


@pytest.mark.parametrize("damage", ["text", "cut", "huge"])
def test_what_has_no_picture_is_told_without_its_content(tmp_path: Path, damage: str) -> None:
    path = ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4", patient="Zrzavá^Kvido")
    if damage == "text":
        path.write_text("Letter about Zrzavá")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        ds = dcmread(path)
        ds.Rows = ds.Columns = 65535
        save(ds, path)
    with pytest.raises(HeldError, match="no-picture") as caught:
        thumbnail(path)
    assert "Zrzav" not in str(caught.value)


def test_only_dicom_files_of_the_quarantine_are_counted(tmp_path: Path) -> None:
    for name in ("b.dcm", "a.dcm", "c.part"):
        (tmp_path / name).touch()
    assert [path.name for path in held_files(tmp_path)] == ["a.dcm", "b.dcm"]
    assert held_files(tmp_path / "absent") == []
