"""Transferability estimates beside the measured transfer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.report.build import Report
from benchmarks.report.table import ABSENT
from benchmarks.results.columns import MetricColumn, estimate_columns, main_column
from benchmarks.results.estimates import (
    EstimatedRow,
    RankAgreement,
    by_protocol,
    rank_agreement,
    read_estimates,
)
from benchmarks.results.statistics import MIN_ROWS_FOR_RANKS, Aggregate
from contract.tasks import ESTIMATES, TASKS

INTRODUCTION = (
    "Measured once before a task is trained, on labelled features of its training images: LogME (2102.11005), the "
    "H-score with a shrunk covariance (2110.06893) and, if the checkpoint has its classifier, LEEP (2002.12462). "
    "A higher estimate predicts better transfer. Means over seeds."
)


@dataclass(frozen=True)
class EstimateTable:
    """The estimates of one task.

    Attributes:
        label: Label of the task.
        headings: Headings of all columns except the row's name.
        rows: Name, whether it is pretrained, and texts of each row.
        agreements: Sentences on the rank correlation of each estimate with the metric.
    """

    label: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, bool, Sequence[str]]]
    agreements: Sequence[str]


def estimate_tables(report: Report) -> list[EstimateTable]:
    """Return the estimates of each task that has any."""
    found = [(task, read_estimates(report.run, task)) for task in TASKS]
    return [_table(report, task, rows) for task, rows in found if rows]


def _table(report: Report, task: str, rows: Sequence[EstimatedRow]) -> EstimateTable:
    columns, main = estimate_columns(task), main_column(task)
    smoke = report.run.budget == "smoke"
    return EstimateTable(
        label=TASKS[task].label,
        headings=(*(f"{e.label} ({e.unit})" for e in ESTIMATES), "samples", main.label),
        rows=[
            (
                row.row,
                row.pretrained,
                [
                    *(_number(row.estimates[column.name], column) for column in columns),
                    ", ".join(f"{count:,}" for count in row.samples),
                    _number(row.measured, main),
                ],
            )
            for row in rows
        ],
        agreements=() if smoke else list(_agreements(rows, columns, main.label)),
    )


def _number(summary: Aggregate | None, column: MetricColumn) -> str:
    if summary is None:
        return ABSENT
    short = "" if summary.complete else f" ({summary.n} of {summary.planned} seeds)"
    return f"{summary.mean:.{column.decimals}f}{short}".replace("-", "−")


def _agreements(
    rows: Sequence[EstimatedRow], columns: Sequence[MetricColumn], label: str
) -> Iterator[str]:
    """Yield a sentence on the rank correlation of each estimate, for each protocol with enough rows."""
    groups = by_protocol(rows)
    several = len(groups) > 1
    if several:
        groups = {k: rows for k, rows in groups.items() if len(rows) >= MIN_ROWS_FOR_RANKS}
    if several and not groups:
        yield (
            f"No rank correlation with {label}: an estimate does not know the tricks, so only rows with the same "
            f"tricks are compared, and no tricks have {MIN_ROWS_FOR_RANKS} pretrained rows."
        )
    for tricks, members in groups.items():
        of = f", rows with {', '.join(tricks) or 'no tricks'}" if several else ""
        for column, estimate in zip(columns, ESTIMATES, strict=True):
            yield f"{estimate.label}{of}: {_agreement(members, column.name, label)}"


def _agreement(rows: Sequence[EstimatedRow], column: str, label: str) -> str:
    """Describe the rank correlation of an estimate with the metric."""
    found = rank_agreement(rows, column)
    if not isinstance(found, RankAgreement):
        return f"no rank correlation with {label}: {found}."
    p_value = "< 0.001" if found.p_value < 0.001 else f"= {found.p_value:.3f}"
    return (
        f"Kendall's τ with {label} {found.tau:+.2f} (p {p_value}, {found.rows} pretrained rows), weighted τ "
        f"{found.weighted_tau:+.2f}; the spread over seeds is not accounted for."
    ).replace("-", "−")
