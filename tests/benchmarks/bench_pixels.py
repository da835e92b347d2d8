"""How much of drawn text is hidden, and how many frames without text are changed.

Names, dates and numbers are drawn on real frames, written in each coding, anonymised, and read
back. A text is hidden when none of its pixels can be told from its surroundings any more; that is
looked up in the pixels, not asked of the detector. Tesseract, another engine, tries to read what
is left. Run: make bench-pixels [TEXTS=600]
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pacsgrid.deid import Pseudonyms, anonymise_file, collect_identifiers, load_profile
from pacsgrid.errors import HeldError
from support.burned_in import Drawn, draw
from support.images import header, write
from support.real_frames import RealFrame, frames_to_draw_on, frames_without_text

SIZES = (10, 12, 14, 16, 20, 24, 32, 40)
CONTRASTS = (0.25, 0.4, 0.7, 1.0)
PLACES = ("tl", "tr", "bl", "br", "any", "any")
CODINGS = {
    "uncompressed": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG": JPEGBaseline8Bit,
}
PSEUDONYMS = Pseudonyms(b"k" * 32, "bench")


@dataclass
class Score:
    """Counts of one row of the table."""

    texts: int = 0
    hidden: int = 0
    read_before: int = 0
    read_after: int = 0
    held: int = 0


def compose(
    frame: RealFrame, rng: random.Random, count: int
) -> tuple[NDArray[Any], list[list[Drawn]]]:
    """Return frames x rows x columns with one or two texts on each."""
    frames, drawn = [], []
    for _ in range(count):
        values, here = frame.values.copy(), []
        for _ in range(rng.choice((1, 1, 2))):
            size = rng.choice([s for s in SIZES if s <= min(values.shape[:2]) / 6])
            if max(values.shape[:2]) > 1200:
                size *= 2
            place, plate = rng.choice(PLACES), rng.random() < 0.2
            if frame.palette is not None:
                one = _draw_by_palette(values, frame, rng, size, place)
            else:
                one = _draw(values, rng, size, rng.choice(CONTRASTS), place, plate)
            if one is None or any((one.mask & other.mask).any() for other in here):
                continue
            here.append(one)
        frames.append(values)
        drawn.append(here)
    return np.stack(frames), drawn


def _draw(
    values: NDArray[Any], rng: random.Random, size: int, contrast: float, place: str, plate: bool
) -> Drawn | None:
    try:
        return draw(values, rng, size, contrast, place, plate)
    except ValueError:  # too long for this frame
        return None


def _draw_by_palette(
    values: NDArray[Any], frame: RealFrame, rng: random.Random, size: int, place: str
) -> Drawn | None:
    """Draw with the palette's white, on its black where that is not legible.

    Indexes are no shades: the letters have hard edges.
    """
    one = _draw(np.zeros(values.shape, np.uint8), rng, size, 1.0, place, False)
    if one is None:
        return None
    rows, columns = np.nonzero(one.mask)
    part = np.s_[
        max(0, rows.min() - 3) : rows.max() + 4, max(0, columns.min() - 3) : columns.max() + 4
    ]
    shown = frame.shown(values).astype(np.float64).mean(axis=2)
    black, white = frame.ends()
    if np.percentile(shown[part], 97) > 0.5 * shown.max():
        values[part] = black
    values[one.mask] = white
    return one


def written(
    path: Path, frame: RealFrame, frames: NDArray[Any], coding: str, modality: str
) -> Path | None:
    """Write the frames; None when the coding does not take this kind of image."""
    syntax: UID = CODINGS[coding]
    grey8 = frames.dtype == np.uint8 and frame.photometric in ("MONOCHROME2", "RGB")
    if syntax == JPEGBaseline8Bit and not grey8:
        return None
    ds = header(modality)
    if frame.palette is not None:
        for element in frame.palette.group_dataset(0x0028):
            if "PaletteColorLookupTable" in element.keyword:
                value = element.value
                if coding == "big endian" and isinstance(value, bytes):
                    value = np.frombuffer(value, "<u2").byteswap().tobytes()
                ds.add_new(element.tag, element.VR, value)
    bits = frame.bits_stored
    if np.issubdtype(frames.dtype, np.signedinteger):
        bits = frames.dtype.itemsize * 8
    while bits < frames.dtype.itemsize * 8 and frames.max() >= 1 << bits:
        bits += 1
    planar = 1 if coding == "big endian" else 0
    return write(path, ds, frames, frame.photometric, syntax, bits, planar)


def is_hidden(made: NDArray[Any], mask: NDArray[np.bool_]) -> bool:
    """Tell whether all pixels of a text are of one value now."""
    values = made[mask].reshape(int(mask.sum()), -1)
    return bool((values == values[0]).all())


def reads(shown: NDArray[Any], one: Drawn) -> bool:
    """Tell whether Tesseract reads the text, or half of it, where it was drawn."""
    rows, columns = np.nonzero(one.mask)
    top, left = max(0, rows.min() - 12), max(0, columns.min() - 12)
    part = shown[top : rows.max() + 12, left : columns.max() + 12].astype(np.float64)
    if part.ndim == 3:
        part = part.mean(axis=2)
    if part.max() == part.min():
        return False
    grey = ((part - part.min()) / (part.max() - part.min()) * 255).astype(np.uint8)
    image = Image.fromarray(grey)
    factor = max(1, round(40 / one.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    answer = subprocess.run(
        ["tesseract", "-", "-", "--psm", "7"],
        input=out.getvalue(),
        capture_output=True,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        check=False,
    ).stdout.decode("utf-8", "replace")
    told, asked = (re.sub(r"\W", "", text).casefold() for text in (answer, one.text))
    match = difflib.SequenceMatcher(None, told, asked, autojunk=False)
    return match.find_longest_match().size >= max(4, len(asked) // 2)


def show(values: NDArray[Any], frame: RealFrame) -> NDArray[Any]:
    """Colour stored values."""
    return frame.shown(values) if frame.palette is not None else values


def run_texts(
    count: int, seed: int, work: Path, ocr: bool, keep: Path | None
) -> dict[tuple[str, str], Score]:
    """Draw, anonymise and verify that many texts; return the scores by modality and coding."""
    rng = random.Random(seed)
    profile = load_profile("research")
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    sources, done, round_ = list(frames_to_draw_on()), 0, 0
    codings = list(CODINGS)
    while done < count:
        for number, frame in enumerate(sources):
            coding = codings[(number + round_) % len(codings)]
            large = max(frame.values.shape[:2]) > 1200
            frames, drawn = compose(frame, rng, 1 if large or rng.random() < 0.7 else 3)
            path = written(work / "in.dcm", frame, frames, coding, frame.modality)
            if path is None:
                coding = "uncompressed"
                path = written(work / "in.dcm", frame, frames, coding, frame.modality)
                assert path is not None
            score = scores[frame.modality, coding]
            source = pixel_array(path).reshape(frames.shape)
            try:
                result = anonymise_file(
                    path, work / "out", PSEUDONYMS, profile, collect_identifiers([path])
                )
            except HeldError as error:
                print(f"held: {frame.name} {coding}: {error}")
                score.held += sum(map(len, drawn))
                done += sum(map(len, drawn))
                continue
            made = pixel_array(dcmread(result.path)).reshape(frames.shape)
            for before, after, here in zip(source, made, drawn, strict=True):
                for one in here:
                    score.texts += 1
                    done += 1
                    hidden = is_hidden(after, one.mask)
                    score.hidden += hidden
                    if ocr:
                        score.read_before += reads(show(before, frame), one)
                        score.read_after += reads(show(after, frame), one)
                    if not hidden and keep:
                        print(f"left: {frame.name} {coding} {one.size} px x{one.contrast}")
                        _save(keep / f"{done:04d}-{frame.name}-{one.size}.png", show(before, frame))
        round_ += 1
    return scores


def _save(path: Path, shown: NDArray[Any]) -> None:
    values = shown.astype(np.float64)
    values = (values - values.min()) / max(1e-9, values.max() - values.min()) * 255
    Image.fromarray(values.astype(np.uint8)).save(path)


def run_clean(work: Path, keep: Path | None) -> tuple[int, int, float]:
    """Anonymise frames without text, turned and mirrored; return how many, changed, and CPU."""
    profile = load_profile("research")
    total = changed = 0
    spent = 0.0
    for frame in frames_without_text():
        large = max(frame.values.shape[:2]) > 1200
        for turn in range(2 if large else 4):
            for mirror in (False,) if large else (False, True):
                values = np.rot90(frame.values, turn)
                values = np.ascontiguousarray(values[:, ::-1] if mirror else values)
                if values.dtype == np.uint8 and values.max() <= 1:
                    values = values * np.uint8(255)
                path = written(work / "in.dcm", frame, values[None], "uncompressed", "OT")
                assert path is not None
                began = time.process_time()
                result = anonymise_file(
                    path, work / "out", PSEUDONYMS, profile, collect_identifiers([path])
                )
                spent += time.process_time() - began
                total += 1
                made = pixel_array(dcmread(result.path), raw=True)
                if not np.array_equal(made, values):
                    changed += 1
                    if keep:
                        print(f"changed: {frame.name} turned {turn} mirrored {mirror}")
                        _save(keep / f"changed-{changed:03d}-{frame.name}.png", made)
    return total, changed, spent


def main() -> int:
    """Print the table; return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=600, help="how many texts to draw")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--clean", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--keep", type=Path, help="folder for pictures of what was missed")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    ocr = shutil.which("tesseract") is not None
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scores = run_texts(args.texts, args.seed, Path(folder), ocr, args.keep)
        total, changed, spent = run_clean(Path(folder), args.keep) if args.clean else (1, 0, 0.0)
    print(f"\n{'modality':10}{'coding':14}{'texts':>7}{'hidden':>8}{'held':>6}", end="")
    print(f"{'read before':>13}{'after':>7}" if ocr else "")
    whole = Score()
    for (modality, coding), score in sorted(scores.items()):
        _row(modality, coding, score, ocr)
        for name in vars(whole):
            setattr(whole, name, getattr(whole, name) + getattr(score, name))
    _row("all", "", whole, ocr)
    share = 100 * whole.hidden / max(1, whole.texts)
    print(f"\nhidden {share:.2f} % of {whole.texts} texts (target 99)")
    print(f"changed {100 * changed / total:.2f} % of {total} frames without text (target 1)")
    print(f"CPU of a frame without text: {1000 * spent / total:.0f} ms")
    if not ocr:
        print("Tesseract is not installed: nothing was read independently")
    return int(share < 99 or changed > 0.01 * total or whole.read_after > 0.01 * whole.texts)


def _row(modality: str, coding: str, score: Score, ocr: bool) -> None:
    row = f"{modality:10}{coding:14}{score.texts:7}{score.hidden:8}{score.held:6}"
    print(row + (f"{score.read_before:13}{score.read_after:7}" if ocr else ""))


if __name__ == "__main__":
    sys.exit(main())
