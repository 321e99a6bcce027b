"""The table: rows × columns, as a pure function of a run folder's files.

`build_table` decides the content of each cell; the writers in `text`, `latex` and `page` only format it. A failed,
missing or stale run is shown by its state, never by a number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.plan.document import PLAN_FILE, RowEntry
from benchmarks.report.notes import environment_lines, protocol_lines, row_notes
from benchmarks.results.columns import VARIES_LEGEND, MetricColumn, known_columns
from benchmarks.results.read import COMPLETED, FAILED, MISSING, STALE, RunFolder, metric_values
from benchmarks.results.statistics import Aggregate, aggregate
from benchmarks.results.warnings import find_warnings
from contract.errors import UserError, unknown

ABSENT = "—"


@dataclass(frozen=True)
class TableCell:
    """One row × metric column.

    Attributes:
        status: `completed` (every planned seed), `incomplete` (some), `failed`, `stale`, `missing`,
            `unavailable` (the suite says why), or `absent` (the row has no such number by design).
        aggregate: The numbers; None for every status except the first two.
        states: How many seeds are in each state that is not `completed`.
        best: Whether the shown mean is the best of its column and all its seeds are in it.
        decimals: Digits after the point; None for three significant digits.
        exact: Whether the number is counted; it has no interval if all seeds agree.
    """

    status: str
    aggregate: Aggregate | None
    states: Mapping[str, int]
    best: bool = False
    decimals: int | None = 2
    exact: bool = False

    @property
    def mean(self) -> str:
        """The formatted mean, or the state if there is none."""
        if self.aggregate is not None:
            return self._shown(self.aggregate.mean)
        if self.status == "absent":
            return ABSENT
        if len(self.states) > 1:
            return ", ".join(f"{count} {state}" for state, count in self.states.items())
        return self.status

    @property
    def interval(self) -> str:
        """The formatted half-width of the interval; empty for one seed or no number."""
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
        """How many of the planned seeds the mean includes; empty if all."""
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
    """One row: its plan entry, and its cells by column."""

    row: RowEntry
    cells: Mapping[str, TableCell]
    parameters: int | None
    mark: str

    @property
    def label(self) -> str:
        """The row's name, marked if the budget is not full."""
        return f"{self.row.name} ({self.mark})" if self.mark else self.row.name

    @property
    def parameters_text(self) -> str:
        """Backbone parameters in millions."""
        return ABSENT if self.parameters is None else f"{self.parameters / 1e6:.2f}"

    def reference_text(self, metric: str) -> str:
        """Return the published figure of a metric."""
        value = self.row.reference.get(metric)
        return ABSENT if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class Table:
    """The content of a table.

    Attributes:
        title: The suite's title.
        description: The suite's description.
        budget: `full`, `short` or `smoke`.
        banner: A sentence about a budget that is not full; empty for `full`.
        seeds: The planned seeds.
        rows: The rows, in the order of the plan.
        columns: Its columns.
        references: The columns for which some row has a published figure.
        legend: Explanation of a cell.
        notes: Sentences on rows and on runs without a number.
        warnings: Reasons to question the table itself.
        protocol: `(task, how it was measured)`.
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


def build_table(run: RunFolder) -> Table:
    """Build the table of a run.

    Args:
        run: A run folder as read.

    Returns:
        The table with every planned row, whatever the state of its runs.

    Raises:
        UserError: The plan names an unknown column, or a curves file cannot be parsed.
    """
    mark = "" if run.budget == "full" else run.budget
    columns = _columns(run)
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
        title=run.plan.title,
        description=run.plan.description,
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


def _columns(run: RunFolder) -> tuple[MetricColumn, ...]:
    known = known_columns()
    for name in run.plan.columns:
        if name not in known:
            raise UserError(f"{run.folder / PLAN_FILE}: {unknown('column', name, known)}")
    return tuple(known[name] for name in run.plan.columns)


def build_cell(run: RunFolder, row: RowEntry, column: MetricColumn) -> TableCell:
    """Summarise one row × column over its seeds."""
    records = run.of(row.name, column.task)
    if not records:
        return TableCell("unavailable" if row.unavailable else "absent", None, {})
    values = metric_values(records, column.name)
    states = Counter(record.state for record in records if record.state != COMPLETED)
    states = dict(sorted(states.items()))
    if values:
        status = "incomplete" if states else COMPLETED
        return TableCell(
            status,
            aggregate(list(values.values()), len(records)),
            states,
            decimals=column.decimals,
            exact=column.kind == "count",
        )
    if not states:
        # A number of another protocol, such as a second test that this row does not have.
        return TableCell("absent", None, {})
    status = next(state for state in (FAILED, STALE, MISSING) if state in states)
    return TableCell(status, None, states if len(states) > 1 else {status: len(records)})


def _mark_best(rows: list[TableRow], columns: Iterable[MetricColumn]) -> tuple[TableRow, ...]:
    """Mark the best displayed mean of each score; a single row is not marked.

    If seeds of the leading row are missing, none is marked, because the best row is unknown. Costs are not marked: the
    smallest network is always the cheapest, and times differ from run to run.
    """
    for column in columns:
        shown = [row.cells[column.name] for row in rows]
        means = [float(cell.mean) for cell in shown if cell.aggregate is not None]
        if len(means) < 2 or column.kind != "score":
            continue
        best = max(means) if column.higher_is_better else min(means)
        rows = [
            replace(row, cells={**row.cells, column.name: replace(cell, best=True)})
            if cell.status == COMPLETED and float(cell.mean) == best
            else row
            for row, cell in zip(rows, shown, strict=True)
        ]
    return tuple(rows)


def _parameters(run: RunFolder, row: RowEntry) -> int | None:
    """Return the backbone parameters counted by a task, or else those of the plan."""
    for record in run.runs:
        if record.row == row.name and record.result is not None:
            return record.result.model.backbone_parameters
    return row.parameters


def _legend(run: RunFolder, columns: Sequence[MetricColumn]) -> str:
    """Explain the two numbers of a cell, or why there is only one."""
    if len(run.seeds) == 1:
        spread = f"One seed ({run.seeds[0]}): there is no interval, and any difference between rows may be chance."
    else:
        listed = ", ".join(map(str, run.seeds))
        spread = (
            f"Mean ± half the width of its 95% confidence interval (Student's t) over "
            f"{len(run.seeds)} seeds ({listed})."
        )
    best = "" if run.budget == "smoke" else "; best mean in bold"
    absent = f" {ABSENT}: the row has no such number by design."
    whole = all(column.unit == "%" and column.higher_is_better for column in columns)
    units = (
        "All metrics in percent, higher is better"
        if whole
        else "Metrics in percent where no unit is given"
    )
    varies = f" {VARIES_LEGEND}" if any(column.varies for column in columns) else ""
    return f"{spread} {units}{best}.{absent}{varies}"
