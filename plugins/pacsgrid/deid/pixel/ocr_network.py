"""Run PP-OCR's two networks, from RapidOCR's wheel: text detection and text recognition."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime

Image = NDArray[np.uint8]

STRIP = 32
_DETECT, _READ = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
_HEIGHT, _LONGEST = 48, 1200  # height and greatest width of the recognition network's input


@lru_cache(maxsize=2)
def _session(model: str) -> onnxruntime.InferenceSession:
    import onnxruntime  # large: see worker_context

    package = find_spec("rapidocr")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError(
            "the package rapidocr is not installed; install the packages of requirements.txt"
        )
    options = onnxruntime.SessionOptions()
    # Workers use all cores by running several processes; threads would compete with them.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Input shapes vary, so memory plans and arenas for each would only waste memory.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3
    path = Path(package.submodule_search_locations[0]) / "models" / model
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(model: str, shown: Image) -> NDArray[np.float32]:
    blob = (shown.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    session = _session(model)
    answer: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: blob})[0][0]
    return answer


@lru_cache(maxsize=8)
def _strip(columns: int) -> Image:
    strip = np.zeros((STRIP, columns, 3), np.uint8)
    white = (255, 255, 255)
    for left in range(4, max(5, columns - 60), 130):
        cv2.putText(
            strip, "ABC 123", (left, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, white, 1, cv2.LINE_AA
        )
    return strip


def text_probability(view: Image) -> NDArray[np.float32]:
    """Return for each pixel of an RGB view the probability that it lies in the core of a line.

    The network was trained on pages and street scenes. In an image without text it takes large
    parts of the anatomy for text. A strip of known text above and below the image prevents this:
    on real CT, MR, CR and NM frames it marks 15 of 16 without the strips and 1 with them, and it
    finds more of the text that was drawn in.
    """
    rows, columns = view.shape[:2]
    high, wide = -(-(rows + 2 * STRIP) // 32) * 32, -(-columns // 32) * 32
    shown = np.zeros((high, wide, 3), np.uint8)
    shown[:STRIP, :columns] = shown[STRIP + rows : 2 * STRIP + rows, :columns] = _strip(columns)
    shown[STRIP : STRIP + rows, :columns] = view
    return _run(_DETECT, shown)[0, STRIP : STRIP + rows, :columns]


def read_line(line: Image) -> tuple[int, float]:
    """Return how many characters a line of an RGB view has, and their mean confidence (0 to 1)."""
    rows, columns = line.shape[:2]
    wide = min(_LONGEST, max(_HEIGHT, round(_HEIGHT * columns / rows)))
    shown = np.zeros((_HEIGHT, -(-wide // 32) * 32, 3), np.uint8)
    shown[:, :wide] = cv2.resize(line, (wide, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    steps = _run(_READ, shown)
    best = steps.argmax(axis=1)
    # Entry 0 means no character; a character that spans several steps counts once.
    first = (best != 0) & (np.diff(best, prepend=0) != 0)
    return int(first.sum()), float(steps.max(axis=1)[first].mean()) if first.any() else 0.0
