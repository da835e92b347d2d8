"""What a steward sees of a held file: frames, text boxes, and the header without its values."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from pacsgrid.deid import Pseudonyms, load_profile
from pacsgrid.errors import HeldError
from pacsgrid.pipeline.held_frames import (
    FrameWindow,
    anonymised,
    frame_of,
    header_difference,
    held_file,
    text_boxes,
)
from support.held_captures import capture
from support.images import header, write


def _png(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


@pytest.fixture
def context(tmp_path: Path) -> Any:
    site = SimpleNamespace(staging=tmp_path / "staging", quarantine=tmp_path / "quarantine")
    site.staging.mkdir()
    pseudonyms = Pseudonyms(os.urandom(32), "demo")
    return SimpleNamespace(site=site, pseudonyms=pseudonyms, profile=load_profile("basic"))


def test_every_frame_is_shown_whole_and_in_its_window(tmp_path: Path) -> None:
    frames = np.stack([np.full((40, 60), 100 * n, np.uint16) for n in range(3)])
    frames[:, 0, 0] = 1000
    path = tmp_path / "in.dcm"
    write(path, header("OT"), frames, "MONOCHROME2")
    shown = frame_of(path, 2, FrameWindow(0, 400))
    picture = _png(shown.png)
    assert picture.shape == (40, 60) and picture[5, 5] == 127 and picture[0, 0] == 255
    assert (shown.lowest, shown.highest) == (200, 1000)
    write(path, header("OT"), frames, "MONOCHROME1")
    assert _png(frame_of(path, 2, FrameWindow(0, 400)).png)[5, 5] == 127
    assert _png(frame_of(path, 0, FrameWindow()).png).shape == (40, 60)
    for number in (3, -1):
        with pytest.raises(HeldError, match="no frame"):
            frame_of(path, number, FrameWindow())


def test_colour_is_shown_as_it_is(tmp_path: Path) -> None:
    frames = np.zeros((1, 20, 20, 3), np.uint8)
    frames[..., 0] = 200
    write(tmp_path / "in.dcm", header("OT"), frames, "RGB")
    picture = _png(frame_of(tmp_path / "in.dcm", 0, FrameWindow()).png)
    assert picture[3, 3].tolist() == [0, 0, 200]  # OpenCV's order


def test_text_is_found_where_it_stands(tmp_path: Path) -> None:
    capture(tmp_path / "in.dcm", "1.2.9", 1, "Beta", "NOVAKOVA ZOF")
    boxes = text_boxes(tmp_path / "in.dcm", 0)
    assert boxes and all(top < 40 and bottom <= 48 for _, top, _, bottom in boxes)


def test_the_header_s_values_are_masked_until_asked_for(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "in.dcm"
    capture(path, "1.2.9", 1, "Beta")
    masked = "\n".join(header_difference(context, path, values=False))
    assert "PatientName" in masked and "(0010,0010)" in masked
    for value in ("Nov", "756203", "ACC-77123", "19750312", "ACME"):
        assert value not in masked
    assert "Nováková" in "\n".join(header_difference(context, path, values=True))
    assert list(context.site.staging.iterdir()) == []


def test_the_preview_is_gone_when_it_was_shown(tmp_path: Path, context: Any) -> None:
    path = tmp_path / "in.dcm"
    capture(path, "1.2.9", 1, "Beta")
    with anonymised(context, path) as made:
        assert frame_of(made, 0, FrameWindow()).png.startswith(b"\x89PNG")
    assert list(context.site.staging.iterdir()) == []


def test_only_a_held_file_s_own_name_leads_to_a_file(tmp_path: Path, context: Any) -> None:
    room = context.site.quarantine / ("st-" + "a" * 20)
    room.mkdir(parents=True)
    (room / f"{'b' * 64}.dcm").write_bytes(b"x")
    assert held_file(context, room.name, "b" * 64).read_bytes() == b"x"
    for ref, sha256 in (
        (room.name, "../" + "b" * 61),
        (room.name, "c" * 64),
        ("..", "b" * 64),
        ("st-../x", "b" * 64),
    ):
        with pytest.raises(HeldError):
            held_file(context, ref, sha256)
