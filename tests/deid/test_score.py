"""The scored benchmark on one patient, without peers."""

from __future__ import annotations

import pytest

from scored import ours
from scored.answers import CATEGORIES, Judge, Score
from scored.studies import Studies


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Score:
    root = tmp_path_factory.mktemp("score")
    studies = Studies(root / "in", patients=2)
    outputs, _ = ours.anonymise(studies, root / "out", "research")
    return Judge(studies.answers, outputs, studies.inputs).score()


# What pixels hide is the subject of another test.
JUDGED = [category for category in CATEGORIES if category != "pixels hidden"]


@pytest.mark.parametrize("category", JUDGED)
def test_every_decision_is_right(score: Score, category: str) -> None:
    wrong = [decision for decision in score.wrong if decision.category == category]
    assert score.total[category] > 0
    assert not wrong, wrong[:3]
