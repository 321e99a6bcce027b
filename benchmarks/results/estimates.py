"""Compare transferability estimates with the measured transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from benchmarks.results.columns import MetricColumn, estimate_columns, main_column
from benchmarks.results.read import RunFolder, metric_values
from benchmarks.results.statistics import MIN_ROWS_FOR_RANKS, Aggregate, aggregate


@dataclass(frozen=True)
class RankAgreement:
    """The rank correlation of an estimate with the measured transfer.

    Attributes:
        tau: Kendall's τ-b, in [−1, 1].
        p_value: p-value of the two-sided test for independent orders.
        weighted_tau: Vigna's weighted τ, in which the best rows count most; LogME's paper reports it.
        rows: Number of rows.
    """

    tau: float
    p_value: float
    weighted_tau: float
    rows: int


@dataclass(frozen=True)
class EstimatedRow:
    """One row in one task.

    Attributes:
        row: Its name.
        pretrained: Whether the rank correlation includes it.
        tricks: Tricks of the task, such as `frozen_backbone`, which change how a row is trained.
        samples: Numbers of samples behind the estimates; several if seeds differ.
        estimates: Estimates over seeds, by column; None if not measured.
        measured: The task's main metric; None if it is not known yet.
        metric: Its column.
    """

    row: str
    pretrained: bool
    tricks: tuple[str, ...]
    samples: tuple[int, ...]
    estimates: dict[str, Aggregate | None]
    measured: Aggregate | None
    metric: MetricColumn


def read_estimates(run: RunFolder, task: str) -> tuple[EstimatedRow, ...]:
    """Collect the estimates of a task over seeds; rows without estimates are left out."""
    found = []
    main = main_column(task)
    for row in run.rows:
        records = run.of(row.name, task)
        results = [record.result for record in records if record.result is not None]
        samples = {estimate.samples for result in results for estimate in result.transferability}
        if not samples:
            continue

        def over_seeds(column: str, records: Sequence = records) -> Aggregate | None:
            values = metric_values(records, column)
            return aggregate(list(values.values()), len(records)) if values else None

        found.append(
            EstimatedRow(
                row=row.name,
                pretrained=row.pretrain,
                tricks=tuple(sorted(results[0].tricks)),
                samples=tuple(sorted(samples)),
                estimates={
                    column.name: over_seeds(column.name) for column in estimate_columns(task)
                },
                measured=over_seeds(main.name),
                metric=main,
            )
        )
    return tuple(found)


def by_protocol(rows: Sequence[EstimatedRow]) -> dict[tuple[str, ...], list[EstimatedRow]]:
    """Group pretrained rows by tricks, because an estimate can only rank rows with the same tricks."""
    groups: dict[tuple[str, ...], list[EstimatedRow]] = {}
    for row in rows:
        if row.pretrained:
            groups.setdefault(row.tricks, []).append(row)
    return groups


def rank_agreement(rows: Sequence[EstimatedRow], column: str) -> RankAgreement | str:
    """Return the rank correlation of an estimate with the measured metric over pretrained rows.

    Both orders have the best row first, so agreement is positive for every metric.

    Args:
        rows: Rows from `read_estimates`.
        column: Name of the estimate's column.

    Returns:
        The correlation, or the reason why there is none, as the end of a sentence.
    """
    pairs = [
        (estimated.mean, row.metric.merit(row.measured.mean))
        for row in rows
        if row.pretrained and row.measured and (estimated := row.estimates[column])
    ]
    if len(pairs) < MIN_ROWS_FOR_RANKS:
        have = "row has" if len(pairs) == 1 else "rows have"
        return f"{len(pairs)} pretrained {have} both, and fewer than {MIN_ROWS_FOR_RANKS} are no ranking"
    first, second = zip(*pairs, strict=True)
    if len(set(first)) == 1 or len(set(second)) == 1:
        return f"all {len(pairs)} pretrained rows have the same value, which is no ranking"
    # scipy annotates both with wider types than they return.
    plain: Any = stats.kendalltau(first, second)
    weighted: Any = stats.weightedtau(first, second)
    return RankAgreement(
        float(plain.statistic), float(plain.pvalue), float(weighted.statistic), len(pairs)
    )
