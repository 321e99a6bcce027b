"""Aggregates and intervals against scipy's own tests and against figures worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy import stats

from benchmarks.results.statistics import aggregate, difference, rank_correlation

VALUES = [41.2, 43.9, 42.4, 40.1]
OTHERS = [38.0, 39.5, 38.9]


def test_interval_matches_t_test() -> None:
    summary = aggregate(VALUES, 4)
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert summary.half_width is not None
    assert summary.mean - summary.half_width == pytest.approx(expected.low)
    assert summary.mean + summary.half_width == pytest.approx(expected.high)


def test_three_seeds_by_hand() -> None:
    # s² = (1 + 0 + 1) / 2 = 1; t(0.975, 2) = 4.302653 in every table of Student's t; / √3.
    summary = aggregate([10.0, 11.0, 12.0], 3)
    assert (summary.mean, summary.std) == (11.0, 1.0)
    assert summary.half_width == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)


def test_one_seed_has_no_interval() -> None:
    summary = aggregate([41.2], 3)
    assert (summary.mean, summary.std, summary.half_width) == (41.2, None, None)
    assert not summary.complete


def test_zero_width_interval() -> None:
    summary = aggregate([5.0, 5.0], 2)
    assert (summary.std, summary.half_width, summary.complete) == (0.0, 0.0, True)


@pytest.mark.parametrize(("values", "message"), [([], "at least one"), ([1.0, math.nan], "finite")])
def test_refuses_undefined_mean(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aggregate(values, 2)


def test_difference_matches_welch() -> None:
    gap = difference(aggregate(VALUES, 4), aggregate(OTHERS, 3))
    test: Any = stats.ttest_ind(VALUES, OTHERS, equal_var=False)
    expected = test.confidence_interval(0.95)
    assert (gap.low, gap.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert gap.resolved == (test.pvalue < 0.05)


def test_single_seed_difference_is_undecided() -> None:
    gap = difference(aggregate([90.0], 3), aggregate(OTHERS, 3))
    assert (gap.low, gap.high, gap.resolved) == (None, None, False)


def test_difference_without_spread() -> None:
    gap = difference(aggregate([2.0, 2.0], 2), aggregate([1.0, 1.0], 2))
    assert (gap.low, gap.high, gap.resolved) == (1.0, 1.0, True)


def test_rank_correlation_matches_spearman() -> None:
    first, second = [3.0, 1.0, 4.0, 1.0, 5.0], [9.0, 2.0, 6.0, 5.0, 3.0]
    test: Any = stats.spearmanr(first, second)
    assert rank_correlation(first, second) == pytest.approx(test.statistic)
    assert math.isnan(rank_correlation([1.0, 1.0], [1.0, 2.0]))
