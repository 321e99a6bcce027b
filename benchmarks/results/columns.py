"""The columns that a table can have: scores, costs and estimates of every task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from contract.tasks import COSTS, DECIMALS, ESTIMATES, TASKS, Kind, Quantity, Task

VARIES = "†"
VARIES_LEGEND = (
    f"{VARIES}: measured, so it differs from run to run and from machine to machine; only ratios within one run on "
    "one machine count."
)


@dataclass(frozen=True)
class MetricColumn:
    """One quantity of one task, as a column.

    Attributes:
        name: Of the column; a cost or an estimate has the task before it.
        label: As shown.
        task: Whose results have it.
        unit: Of its values.
        higher_is_better: None if neither direction is better.
        kind: See `contract.tasks.Quantity`.
        decimals: Digits after the point; None for three significant digits.
    """

    name: str
    label: str
    task: str
    unit: str = "%"
    higher_is_better: bool | None = True
    kind: Kind = "score"
    decimals: int | None = DECIMALS

    @property
    def varies(self) -> bool:
        """Whether it differs between two runs of the same settings."""
        return self.kind == "measured"

    @property
    def heading(self) -> str:
        """The label, a unit other than percent, the better direction, and the mark of what varies."""
        unit = "" if self.unit == "%" else f" ({self.unit})"
        arrow = {None: "", True: " ↑", False: " ↓"}[self.higher_is_better]
        return f"{self.label}{unit}{arrow}{f' {VARIES}' if self.varies else ''}"


def _column(task: Task, quantity: Quantity) -> MetricColumn:
    return MetricColumn(
        name=quantity.name,
        label=quantity.label,
        task=task.name,
        unit=quantity.unit,
        higher_is_better=quantity.higher_is_better,
        kind=quantity.kind,
        decimals=quantity.decimals,
    )


def main_column(task: str) -> MetricColumn:
    """Return the column of a task's main metric."""
    return _column(TASKS[task], TASKS[task].main)


def cost_columns(task: str) -> tuple[MetricColumn, ...]:
    """Return the columns of what a task costs; those of the source task have no prefix."""
    entry = TASKS[task]
    prefix = "" if entry.starts_from is None else f"{task} "
    return tuple(
        replace(
            _column(entry, cost),
            name=entry.cost_column(cost.name),
            label=prefix + cost.label,
        )
        for cost in (*COSTS, *entry.further_costs)
    )


def cost_column(task: str, cost: str) -> MetricColumn:
    """Return the column of one of a task's costs."""
    name = TASKS[task].cost_column(cost)
    return next(column for column in cost_columns(task) if column.name == name)


def estimate_columns(task: str) -> tuple[MetricColumn, ...]:
    """Return the columns of a task's transferability estimates; empty if it has none."""
    entry = TASKS[task]
    return tuple(
        replace(
            _column(entry, estimate),
            name=f"{task}_{estimate.name}",
            label=f"{estimate.label}, {task}",
        )
        for estimate in (ESTIMATES if entry.estimates else ())
    )


def known_columns() -> dict[str, MetricColumn]:
    """Return every column by its name: first all scores, then all costs, then all estimates."""
    scores = [_column(task, metric) for task in TASKS.values() for metric in task.metrics]
    costs = [column for task in TASKS for column in cost_columns(task)]
    estimates = [column for task in TASKS for column in estimate_columns(task)]
    return {column.name: column for column in (*scores, *costs, *estimates)}
