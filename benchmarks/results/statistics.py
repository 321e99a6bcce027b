"""Mean, standard deviation and intervals over seeds, and correlations between rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
MIN_ROWS_FOR_RANKS = 4  # three rows have the right order by chance in one of six cases


@dataclass(frozen=True)
class Aggregate:
    """Summary of a metric of a row over its seeds.

    Attributes:
        mean: Arithmetic mean of `values`, in the metric's unit.
        std: Sample standard deviation (divisor n − 1); None with one seed.
        half_width: Half the width of the mean's 95% confidence interval (Student's t); None with
            one seed.
        n: Number of seeds with a value.
        planned: Number of planned seeds.
        values: The values in the order of the seeds.
    """

    mean: float
    std: float | None
    half_width: float | None
    n: int
    planned: int
    values: tuple[float, ...]

    @property
    def complete(self) -> bool:
        """Whether every planned seed has a value."""
        return self.n >= self.planned


@dataclass(frozen=True)
class Difference:
    """Mean of one group minus the mean of another, with Welch's 95% interval.

    Attributes:
        mean: The difference of the two means.
        low: Lower end of the interval; None if a group has fewer than two values.
        high: Upper end of the interval; None if a group has fewer than two values.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def resolved(self) -> bool:
        """Whether the interval exists and excludes zero."""
        return self.low is not None and self.high is not None and self.low * self.high > 0


def aggregate(values: Sequence[float], planned: int) -> Aggregate:
    """Summarise the values of one metric over seeds.

    The interval is for the mean of independent, normal values: t(n − 1) · s / √n.

    Args:
        values: One value per seed; at least one, all finite.
        planned: Number of planned seeds.

    Returns:
        The summary; without standard deviation and interval if there is only one value.

    Raises:
        ValueError: `values` is empty or contains a value that is not finite.
    """
    if not values:
        raise ValueError("no values to aggregate: expected at least one seed")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"expected finite values, got {list(values)}")
    n = len(values)
    std = half_width = None
    if n > 1:
        std = float(np.std(values, ddof=1))
        half_width = _t_quantile(n - 1) * std / math.sqrt(n)
    return Aggregate(float(np.mean(values)), std, half_width, n, planned, tuple(values))


@cache
def _t_quantile(freedom: int) -> float:
    """Return Student's quantile of the interval; of a table's cells, most have the same number of seeds."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def difference(group: Aggregate, baseline: Aggregate) -> Difference:
    """Compare two rows on a metric, with Welch's unequal-variance interval of the difference.

    Rows are trained independently, so equal seed numbers do not pair them.

    Args:
        group: The row.
        baseline: The row to compare with.

    Returns:
        `group` minus `baseline`; without interval if either has only one seed.
    """
    mean = group.mean - baseline.mean
    if group.std is None or baseline.std is None:
        return Difference(mean, None, None)
    share_group = group.std**2 / group.n
    share_baseline = baseline.std**2 / baseline.n
    variance = share_group + share_baseline
    if variance == 0:  # the Welch–Satterthwaite degrees of freedom would be 0 / 0
        return Difference(mean, mean, mean)
    freedom = variance**2 / (share_group**2 / (group.n - 1) + share_baseline**2 / (baseline.n - 1))
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return Difference(mean, mean - half_width, mean + half_width)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation of two columns, in [−1, 1]; NaN if a column is constant."""
    ranks = [stats.rankdata(column) for column in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
