"""The possible columns of a table: scores, costs and estimates of every task."""

from __future__ import annotations

from dataclasses import dataclass

from contract.tasks import DECIMALS, TASKS, Kind, Quantity, Task

VARIES = "†"
VARIES_LEGEND = (
    f"{VARIES}: measured, so it differs from run to run and from machine to machine; only ratios within one run on "
    "one machine count."
)


@dataclass(frozen=True)
class MetricColumn:
    """One quantity of one task, as a column.

    Attributes:
        name: Name of the column; costs and estimates are prefixed with the task.
        label: Displayed label.
        task: The task that reports it.
        unit: Unit of its values.
        higher_is_better: None if neither direction is better.
        kind: See `contract.tasks.Quantity`.
        decimals: Digits after the decimal point; None for three significant digits.
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
        """Whether it differs between two runs with the same settings."""
        return self.kind == "measured"

    def merit(self, value: float) -> float:
        """Return a value with the sign that makes a higher one better."""
        return -value if self.higher_is_better is False else value

    @property
    def heading(self) -> str:
        """The label, a unit other than percent, the better direction, and the mark of varying quantities."""
        unit = "" if self.unit == "%" else f" ({self.unit})"
        arrow = {None: "", True: " ↑", False: " ↓"}[self.higher_is_better]
        return f"{self.label}{unit}{arrow}{f' {VARIES}' if self.varies else ''}"


def task_columns(task: str) -> dict[str, MetricColumn]:
    """Return the columns of a task by name: scores, then costs, then estimates."""
    entry = TASKS[task]
    return {
        name: MetricColumn(
            name=name,
            label=_label(entry, quantity),
            task=task,
            unit=quantity.unit,
            higher_is_better=quantity.higher_is_better,
            kind=quantity.kind,
            decimals=quantity.decimals,
        )
        for name, quantity in entry.columns().items()
    }


def _label(task: Task, quantity: Quantity) -> str:
    """Return a label that includes the task if several tasks have the quantity."""
    if quantity.kind == "estimate":
        return f"{quantity.label}, {task.name}"
    if quantity.kind == "score" or task.starts_from is None:
        return quantity.label
    return f"{task.name} {quantity.label}"


def known_columns() -> dict[str, MetricColumn]:
    """Return every column by its name."""
    return {name: column for task in TASKS for name, column in task_columns(task).items()}


def main_column(task: str) -> MetricColumn:
    """Return the column of a task's main metric."""
    return task_columns(task)[TASKS[task].main_metric]


def cost_columns(task: str) -> tuple[MetricColumn, ...]:
    """Return the cost columns of a task."""
    columns = task_columns(task).values()
    return tuple(column for column in columns if column.kind in ("count", "measured"))


def cost_column(task: str, cost: str) -> MetricColumn:
    """Return the column of a cost of a task."""
    return task_columns(task)[TASKS[task].cost_column(cost)]


def estimate_columns(task: str) -> tuple[MetricColumn, ...]:
    """Return the columns of a task's transferability estimates; empty if it has none."""
    return tuple(column for column in task_columns(task).values() if column.kind == "estimate")
