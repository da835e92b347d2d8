"""The checker reads pixels with another engine than the one that found text to blank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from pacsgrid.deid import (
    Checker,
    Profile,
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.deid.check import pixel_text
from pacsgrid.deid.pixel.selection import needs_text_search
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.burned_in import font
from support.images import header, write

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")
needs_tesseract = pytest.mark.skipif(
    not pixel_text.tesseract_path(), reason="Tesseract is not installed"
)


def frame(text: str, size: int = 22, light: bool = True) -> NDArray[Any]:
    """A smooth image with a line of text."""
    rows, columns = np.mgrid[0:256, 0:400]
    smooth = 70 + 40 * np.sin(rows / 60) * np.cos(columns / 80)
    image = Image.fromarray(smooth.astype(np.uint8))
    ImageDraw.Draw(image).text(
        (20, 20), text, font=font("DejaVuSans.ttf", size), fill=235 if light else 5
    )
    return np.asarray(image)


def made(tmp_path: Path, frames: list[NDArray[Any]], look: str = "none", **more: Any) -> Any:
    """Take frames through the actions, which look at no pixels; return source and result."""
    path = write(tmp_path / "in.dcm", header("US"), np.stack(frames), "MONOCHROME2", **more)
    profile = _looking(load_profile("research"), look)
    result = anonymise_file(
        path, tmp_path / "out", PSEUDONYMS, profile, collect_identifiers([path])
    )
    return path, result.path


def _looking(profile: Profile, look: str) -> Profile:
    pixels = PixelSettings(look=look, outside_ultrasound_regions="look", hold=frozenset())
    return profile.replace(pixels=pixels, hold_burned_in=False)


def verdict(path: Path, result: Path, look: str = "risky") -> str:
    profile = _looking(load_profile("research"), look)
    # The method in the header is that of the profile which made it.
    try:
        check_file(path, result, profile)
    except HeldError as error:
        assert not any(word in str(error).casefold() for word in ("novak", "7562", "2024", "zofie"))
        return error.code
    return ""


@needs_tesseract
@pytest.mark.parametrize(
    "text",
    [
        "Novakova, Zofie",
        "ZOFIE NOVÁKOVÁ",
        "ID 756203/1234",
        "7562031234",
        "02.01.2024",
        "*1975-03-12",
        "ACC-77123",
    ],
)
@pytest.mark.parametrize("light", [True, False])
def test_text_that_nobody_blanked_is_refused(tmp_path: Path, text: str, light: bool) -> None:
    path, result = made(tmp_path, [frame(text, light=light)])
    assert verdict(path, result) == "pixels-text"


@needs_tesseract
@pytest.mark.parametrize("text", ["", "Gain 62 dB  MI 1.2", "LIVER LEFT LOBE", "TIS 0.4"])
def test_other_text_is_not(tmp_path: Path, text: str) -> None:
    path, result = made(tmp_path, [frame(text)])
    assert verdict(path, result) == ""


@needs_tesseract
def test_text_on_a_grainy_image_is_refused(tmp_path: Path) -> None:
    grain = np.random.default_rng(5).normal(0, 30, (768, 768))
    grain = 100 + 2 * cv2.GaussianBlur(grain, None, 1.0)
    written = np.zeros((768, 768), np.uint8)
    cv2.putText(written, "NOVAKOVA", (220, 400), cv2.FONT_HERSHEY_SIMPLEX, 1, 120, 2, cv2.LINE_AA)
    path, result = made(tmp_path, [np.clip(grain + written, 0, 255).astype(np.uint8)])
    assert verdict(path, result) == "pixels-text"


@needs_tesseract
def test_the_last_frame_and_compressed_ones_are_read(tmp_path: Path) -> None:
    clean = frame("")
    for syntax in ({}, {"syntax": JPEGLSLossless}):
        path, result = made(tmp_path, [clean] * 6 + [frame("Novakova")], **syntax)
        assert verdict(path, result) == "pixels-text"


@needs_tesseract
def test_blanked_text_passes_and_is_counted(tmp_path: Path) -> None:
    path, result = made(tmp_path, [frame("Novakova Zofie 756203/1234")] * 9, look="risky")
    assert dcmread(result).BurnedInAnnotation == "NO"
    checker = Checker(_looking(load_profile("research"), "risky"))
    checker.check(path, result)
    assert checker.counts.frames_read == pixel_text.FRAMES


@needs_tesseract
@needs_tesseract
def test_an_ultrasound_image_is_searched_whatever_modality_it_states(tmp_path: Path) -> None:
    path, _ = made(tmp_path, [frame("Novakova")])
    ds = dcmread(path)
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY"]
    ds.save_as(path)
    profile = _looking(load_profile("research"), "none")
    result = anonymise_file(path, tmp_path / "ct", PSEUDONYMS, profile, collect_identifiers([path]))
    assert needs_text_search(ds, PixelSettings())
    assert verdict(path, result.path) == "pixels-text"


def test_only_what_the_profile_looks_at_is_read(tmp_path: Path) -> None:
    path, result = made(tmp_path, [frame("Novakova")])
    assert verdict(path, result, "none") == ""


def test_without_tesseract_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_text, "tesseract_path", lambda: "")
    path, result = made(tmp_path, [frame("Novakova")])
    checker = Checker(_looking(load_profile("research"), "risky"))
    checker.check(path, result)
    assert checker.counts.frames_read == 0


@pytest.mark.parametrize("name", ["Novakova.dcm", "7562031234.dcm", "19750312.dcm"])
def test_a_result_named_after_somebody_is_refused(tmp_path: Path, name: str) -> None:
    path, result = made(tmp_path, [frame("")])
    assert verdict(path, result.rename(result.with_name(name)), "none") == "identity-left"
