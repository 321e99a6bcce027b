"""The table: rows × metrics, as a pure function of a run folder's files.

`build_table` decides what each cell says; the writers in `table_text`, `latex` and `report` only
lay it out. No state is ever turned into a number: a failed, missing or stale cell keeps its name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.columns import (
    COUNT,
    KNOWN_COLUMNS,
    MEASURED,
    SCORE,
    VARIES_LEGEND,
    MetricColumn,
)
from benchmarks.integrity import find_warnings
from benchmarks.results import Row, Run, metric_values
from benchmarks.statistics import Aggregate, aggregate
from benchmarks.table_notes import environment_lines, protocol_lines, row_notes
from contract.errors import UserError, unknown

ABSENT = "—"


@dataclass(frozen=True)
class TableCell:
    """What one row says in one metric column.

    Attributes:
        status: `completed` (every planned seed), `incomplete` (some), `failed`, `stale`, `missing`,
            `unavailable` (the suite says why), or `absent` (the row has no such number by design).
        aggregate: The numbers; None for every status but the first two.
        states: How many seeds are in each state that is not `completed`.
        best: Whether the shown mean is the best of its column and all its seeds are in it.
        decimals: Shown behind the point; None for three significant digits.
        exact: Whether the number is counted, so that it needs no interval where all seeds agree.
    """

    status: str
    aggregate: Aggregate | None
    states: Mapping[str, int]
    best: bool = False
    decimals: int | None = 2
    exact: bool = False

    @property
    def mean(self) -> str:
        """The mean as shown, or the word for why there is none."""
        if self.aggregate is not None:
            return self._shown(self.aggregate.mean)
        if self.status == "absent":
            return ABSENT
        if len(self.states) > 1:
            return ", ".join(f"{count} {state}" for state, count in self.states.items())
        return self.status

    @property
    def interval(self) -> str:
        """Half the width of the interval as shown; empty with one seed or no number."""
        if self.aggregate is None or self.aggregate.half_width is None:
            return ""
        if self.exact and len(set(self.aggregate.values)) == 1:
            return ""
        return self._shown(self.aggregate.half_width)

    def _shown(self, value: float) -> str:
        decimals = self.decimals
        if decimals is None:
            decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2
        return f"{value:.{decimals}f}"

    @property
    def shortfall(self) -> str:
        """Says that fewer seeds than planned are in the mean; empty where all are."""
        if self.aggregate is None or self.aggregate.complete:
            return ""
        return f"{self.aggregate.n} of {self.aggregate.planned} seeds"

    @property
    def text(self) -> str:
        """The whole cell as plain text."""
        parts = [self.mean]
        if self.interval:
            parts.append(f"± {self.interval}")
        if self.shortfall:
            parts.append(f"({self.shortfall})")
        return " ".join(parts)


@dataclass(frozen=True)
class TableRow:
    """One row: what the plan says of it, and its cells by metric name."""

    row: Row
    cells: Mapping[str, TableCell]
    parameters: int | None
    mark: str

    @property
    def label(self) -> str:
        """The row's name with the mark of a budget that is not full."""
        return f"{self.row.name} ({self.mark})" if self.mark else self.row.name

    @property
    def parameters_text(self) -> str:
        """Backbone parameters in millions."""
        return ABSENT if self.parameters is None else f"{self.parameters / 1e6:.2f}"

    def reference_text(self, metric: str) -> str:
        """The published figure of a metric."""
        value = self.row.reference.get(metric)
        return ABSENT if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class Table:
    """Everything that a written table says.

    Attributes:
        title: The suite's title.
        description: The suite's description.
        budget: `full`, `short` or `smoke`.
        banner: A sentence about a budget that is not full; empty for `full`.
        seeds: The planned seeds.
        rows: The rows, in the order of the plan.
        columns: Its metric columns.
        references: Those that some row has a published figure for.
        legend: How to read a cell.
        notes: One sentence for each row's note and for each cell without a number.
        warnings: Findings that question the table itself.
        protocol: `(stage, how it was measured)`.
        environment: `(what, value)`: code, packages, device, precision.
    """

    title: str
    description: str
    budget: str
    banner: str
    seeds: tuple[int, ...]
    rows: tuple[TableRow, ...]
    columns: tuple[MetricColumn, ...]
    references: tuple[MetricColumn, ...]
    legend: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    protocol: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]


BANNERS = {
    "full": "",
    "short": "Short budget: schedules were cut, so these numbers are below those of a full run.",
    "smoke": "Smoke budget: a few iterations that show that the chain runs. "
    "These numbers say nothing about any row.",
}


def build_table(run: Run) -> Table:
    """Build the table of a run.

    Args:
        run: A run folder as read.

    Returns:
        The table; it has every planned row, whatever became of its cells.
    """
    mark = "" if run.budget == "full" else run.budget
    columns = tuple(_column(run, name) for name in run.columns)
    rows = [
        TableRow(
            row=row,
            cells={column.name: build_cell(run, row, column) for column in columns},
            parameters=_parameters(run, row),
            mark=mark,
        )
        for row in run.rows
    ]
    return Table(
        title=run.title,
        description=run.description,
        budget=run.budget,
        banner=BANNERS[run.budget],
        seeds=run.seeds,
        rows=tuple(rows) if run.budget == "smoke" else _mark_best(rows, columns),
        columns=columns,
        references=tuple(
            column for column in columns if any(column.name in row.reference for row in run.rows)
        ),
        legend=_legend(run, columns),
        notes=tuple(row_notes(run)),
        warnings=find_warnings(run),
        protocol=tuple(protocol_lines(run)),
        environment=tuple(environment_lines(run.results)),
    )


def _column(run: Run, name: str) -> MetricColumn:
    if name not in KNOWN_COLUMNS:
        raise UserError(f"{run.folder / 'plan.json'}: {unknown('column', name, KNOWN_COLUMNS)}")
    return KNOWN_COLUMNS[name]


def build_cell(run: Run, row: Row, column: MetricColumn) -> TableCell:
    """Summarise one row × metric over its seeds."""
    cells = run.of(row.name, column.stage)
    if not cells:
        return TableCell("unavailable" if row.unavailable else "absent", None, {})
    values = metric_values(cells, column.name)
    states = dict(sorted(Counter(c.state for c in cells if c.state != "completed").items()))
    if values:
        status = "incomplete" if states else "completed"
        return TableCell(
            status,
            aggregate(list(values.values()), len(cells)),
            states,
            decimals=column.decimals,
            exact=column.kind == COUNT,
        )
    if not states:
        # Another protocol's number, such as that of a second test which this row does not make.
        return TableCell("absent", None, {})
    status = next(state for state in ("failed", "stale", "missing") if state in states)
    return TableCell(status, None, states if len(states) > 1 else {status: len(cells)})


def _mark_best(rows: list[TableRow], columns: Iterable[MetricColumn]) -> tuple[TableRow, ...]:
    """Mark the best mean of each column, as shown; one row alone is best of nothing.

    Where a row that lacks seeds leads, none is marked: neither it nor the next is known to be best.
    No cost is marked: the smallest network is always the cheapest, and times differ from run to run.
    """
    for column in columns:
        shown = [row.cells[column.name] for row in rows]
        means = [float(cell.mean) for cell in shown if cell.aggregate is not None]
        if len(means) < 2 or column.kind != SCORE:
            continue
        best = max(means) if column.merit > 0 else min(means)
        rows = [
            replace(row, cells={**row.cells, column.name: replace(cell, best=True)})
            if cell.status == "completed" and float(cell.mean) == best
            else row
            for row, cell in zip(rows, shown, strict=True)
        ]
    return tuple(rows)


def _parameters(run: Run, row: Row) -> int | None:
    """Backbone parameters: those that the stages counted, else those of the plan."""
    for result in (cell.result for cell in run.cells if cell.row == row.name):
        if result is not None:
            return result.backbone_parameters
    return row.parameters


def _legend(run: Run, columns: Sequence[MetricColumn]) -> str:
    """Say what a cell's two numbers are, or why there is only one."""
    if len(run.seeds) == 1:
        spread = (
            f"One seed ({run.seeds[0]}): there is no interval, and no difference between rows can "
            "be told from chance."
        )
    else:
        listed = ", ".join(map(str, run.seeds))
        spread = (
            f"Mean ± half the width of its 95% confidence interval (Student's t) over "
            f"{len(run.seeds)} seeds ({listed})."
        )
    best = "" if run.budget == "smoke" else "; best mean in bold"
    absent = f" {ABSENT}: the row has no such number by design."
    whole = all(column.kind == SCORE for column in columns)
    units = (
        "All metrics in percent, higher is better"
        if whole
        else "Metrics in percent where no unit is given"
    )
    varies = f" {VARIES_LEGEND}" if any(column.kind == MEASURED for column in columns) else ""
    return f"{spread} {units}{best}.{absent}{varies}"
