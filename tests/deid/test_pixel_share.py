"""The benchmark of hidden texts on a few frames of each kind."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench_pixels import run_texts


def test_texts_on_real_frames_are_hidden(tmp_path: Path) -> None:
    scores = run_texts(16, 8, tmp_path, False, None).values()
    texts = sum(score.texts for score in scores)
    assert texts >= 16 and not sum(score.held for score in scores)
    assert sum(score.hidden for score in scores) >= texts - 1
