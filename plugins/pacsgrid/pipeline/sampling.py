"""Sampling plans for a human double check: how many to look at, and what the result proves.

Sampling is without replacement, so the numbers are those of the hypergeometric distribution. They
are exact for small populations too.
"""

from __future__ import annotations

from math import ceil, exp, lgamma

# Sums of logarithms are off by about this much.
_ROUNDING = 1e-9


def sample_size(population: int, limit: float, confidence: float) -> int:
    """Return how many to look at, so that finding nothing wrong proves the limit.

    Parameters
    ----------
    population
        How many there are.
    limit
        The share of wrong ones that is to be ruled out, above 0 and at most 1.
    confidence
        With which probability at least one wrong one is found if the share is higher; below 1.

    Returns
    -------
    int
        The smallest such number; at most the population.
    """
    if population < 1:
        return 0
    # Shares above the limit: the smallest number of wrong ones that must not stay unnoticed.
    wrong = min(population, int(limit * population + _ROUNDING) + 1)
    low, high = 1, population
    while low < high:
        middle = (low + high) // 2
        if _at_most(0, population, wrong, middle) <= 1 - confidence + _ROUNDING:
            high = middle
        else:
            low = middle + 1
    return low


def upper_bound(population: int, checked: int, found: int, confidence: float) -> float:
    """Return the highest share of wrong ones that the result does not rule out.

    It is the upper end of the exact one-sided interval (Clopper and Pearson's, for a finite
    population).

    Parameters
    ----------
    population
        How many there are.
    checked
        How many of them were looked at.
    found
        How many of these were wrong.
    confidence
        With which probability the share is not higher; below 1.

    Returns
    -------
    float
        Between 0 and 1; 1 if nothing was looked at.
    """
    if checked == 0 or population == 0:
        return 1.0 if population else 0.0
    low, high = found, population - (checked - found)
    while low < high:  # the largest number of wrong ones that could have given this result
        middle = ceil((low + high) / 2)
        if _at_most(found, population, middle, checked) > 1 - confidence + _ROUNDING:
            low = middle
        else:
            high = middle - 1
    return low / population


def _at_most(found: int, population: int, wrong: int, checked: int) -> float:
    """Return the probability of at most `found` wrong ones among those looked at."""
    total = 0.0
    everything = _log_choices(population, checked)
    for count in range(max(0, checked - (population - wrong)), min(found, wrong, checked) + 1):
        chance = _log_choices(wrong, count) + _log_choices(population - wrong, checked - count)
        total += exp(chance - everything)
    return min(1.0, total)


def _log_choices(of: int, some: int) -> float:
    return lgamma(of + 1) - lgamma(some + 1) - lgamma(of - some + 1)
