"""Transferability estimates, compared with the transfer that was measured later."""

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
    """How far an estimate orders rows as their measured transfer does.

    Attributes:
        tau: Kendall's τ-b, in [−1, 1].
        p_value: Of the two-sided test that the orders are independent.
        weighted_tau: Vigna's weighted τ, in which the best rows count most; LogME's paper reports it.
        rows: How many rows were compared.
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
        pretrained: Whether it counts in the rank correlation.
        tricks: The task's own, such as `frozen_backbone`: they change how a row is trained.
        samples: Numbers of samples that the estimates were taken on; several if seeds differ.
        estimates: By column, over seeds; None if it was not measured.
        measured: The task's main metric; None if there is none yet.
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
    """Collect the estimates of a task, mean over seeds; rows without any are left out."""
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
    """Group pretrained rows by their tricks: an estimate knows no tricks, and can only rank rows with the same ones."""
    groups: dict[tuple[str, ...], list[EstimatedRow]] = {}
    for row in rows:
        if row.pretrained:
            groups.setdefault(row.tricks, []).append(row)
    return groups


def rank_agreement(rows: Sequence[EstimatedRow], column: str) -> RankAgreement | str:
    """Correlate the order by an estimate with the order by the measured metric, over pretrained rows.

    Both orders have the best row first, so agreement is positive for every metric.

    Args:
        rows: As `read_estimates` returns them.
        column: Name of the estimate's column.

    Returns:
        The correlation, or why there is none, as the end of a sentence.
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
    # scipy's declared type of both is wider than what they return.
    plain: Any = stats.kendalltau(first, second)
    weighted: Any = stats.weightedtau(first, second)
    return RankAgreement(
        float(plain.statistic), float(plain.pvalue), float(weighted.statistic), len(pairs)
    )
