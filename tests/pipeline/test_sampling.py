"""Sampling plans are exact: compared with counting every possible sample."""

from __future__ import annotations

from itertools import combinations

import pytest

from pacsgrid.pipeline.sampling import sample_size, upper_bound


def chance_of_at_most(found: int, population: int, wrong: int, checked: int) -> float:
    """Count all samples; the first `wrong` of the population are wrong."""
    samples = list(combinations(range(population), checked))
    fitting = [one for one in samples if sum(item < wrong for item in one) <= found]
    return len(fitting) / len(samples)


@pytest.mark.parametrize("population", [1, 5, 12])
@pytest.mark.parametrize("limit", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_the_size_is_the_smallest_that_rules_the_limit_out(
    population: int, limit: float, confidence: float
) -> None:
    size = sample_size(population, limit, confidence)
    beyond = next(w for w in range(1, population + 1) if w > limit * population)
    assert chance_of_at_most(0, population, beyond, size) <= 1 - confidence + 1e-9
    if size > 1:
        assert chance_of_at_most(0, population, beyond, size - 1) > 1 - confidence + 1e-9


@pytest.mark.parametrize("checked", [1, 4, 9])
@pytest.mark.parametrize("found", [0, 1, 3])
def test_the_bound_is_the_highest_share_that_could_have_given_the_result(
    checked: int, found: int
) -> None:
    population, confidence = 11, 0.95
    if found > checked:
        return
    possible = [
        wrong
        for wrong in range(found, population - (checked - found) + 1)
        if chance_of_at_most(found, population, wrong, checked) > 1 - confidence + 1e-9
    ]
    assert upper_bound(population, checked, found, confidence) == max(possible) / population


def test_a_plan_that_finds_nothing_meets_its_limit() -> None:
    for population in (40, 1000, 10_000_000):
        size = sample_size(population, 0.01, 0.95)
        assert size <= 299
        assert upper_bound(population, size, 0, 0.95) <= 0.01
        assert upper_bound(population, size - 1, 0, 0.95) > 0.01 or size == 1


def test_nothing_checked_proves_nothing_and_everything_checked_leaves_no_doubt() -> None:
    assert upper_bound(100, 0, 0, 0.95) == 1
    assert upper_bound(100, 100, 3, 0.95) == 0.03
    assert upper_bound(0, 0, 0, 0.95) == 0
    assert sample_size(0, 0.01, 0.95) == 0
