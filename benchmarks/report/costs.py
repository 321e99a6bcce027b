"""The cost tables of each task, and its scores against costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.report.build import Report
from benchmarks.report.figures import Panel
from benchmarks.report.pareto import draw_pareto, read_points
from benchmarks.report.table import ABSENT, build_cell
from benchmarks.results.columns import MetricColumn, cost_column, cost_columns, main_column
from benchmarks.results.read import RunFolder
from contract.tasks import TASKS

# The costs against which each task's main metric is drawn.
PARETO_COSTS = ("multiply_adds", "latency")


@dataclass(frozen=True)
class CostTable:
    """The costs of one task.

    Attributes:
        label: Label of the task.
        headings: Headings of the costs that some row has.
        rows: Name and texts of each row that has this task.
        circumstances: How inference was measured; may be empty.
        notes: Notes on missing measurements.
    """

    label: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    circumstances: str
    notes: Sequence[str]


def cost_tables(report: Report) -> list[CostTable]:
    """Return the costs of each task; tasks without any are left out."""
    tables = [_cost_table(report.run, task) for task in TASKS]
    return [table for table in tables if table is not None]


def _cost_table(run: RunFolder, task: str) -> CostTable | None:
    rows = [row for row in run.rows if run.of(row.name, task)]
    headings: list[str] = []
    texts: list[list[str]] = []
    for column in cost_columns(task):
        cells = [build_cell(run, row, column) for row in rows]
        if any(cell.aggregate for cell in cells):
            # Headings break only between words, and keep unit, direction and mark together.
            headings.append(re.sub(" (?=[↑↓†])", "\N{NO-BREAK SPACE}", _short(column).heading))
            texts.append([cell.text for cell in cells])
    if not headings:
        return None
    circumstances, notes = _circumstances(run, task)
    return CostTable(
        label=TASKS[task].label,
        headings=headings,
        rows=[(row.name, [column[at] for column in texts]) for at, row in enumerate(rows)],
        circumstances=circumstances,
        notes=notes,
    )


def _short(column: MetricColumn) -> MetricColumn:
    """Return the column with a label that does not repeat the task."""
    return replace(column, label=column.label.removeprefix(f"{column.task} "))


def _circumstances(run: RunFolder, task: str) -> tuple[str, list[str]]:
    """Describe how inference was measured, with notes on missing measurements."""
    ways: dict[str, None] = {}
    notes: dict[str, None] = {}
    for record in run.runs:
        if record.task != task or record.result is None or not record.result.inference:
            continue
        how = record.result.inference
        ways[
            f"{how.get('input', ABSENT)} pixels, {how.get('precision', ABSENT)}, {how.get('threads', ABSENT)} "
            f"thread(s), images/s in batches of {how.get('batch', ABSENT)}"
        ] = None
        notes |= {f"{record.row} · {task}: {note}": None for note in how.get("notes", [])}
    if not ways:
        return "", []
    text = f"Inference on {'; '.join(ways)}; latency of one image, median of its runs."
    return text, list(notes)


def pareto_panels(report: Report) -> list[Panel]:
    """Draw each task's main metric against each of `PARETO_COSTS`; panels without points are left out."""
    panels = []
    for task in TASKS:
        score = main_column(task)
        for name in PARETO_COSTS:
            cost = cost_column(task, name)
            svg = draw_pareto(report, score, cost)
            if svg is not None:
                title = f"{score.label} against {_short(cost).label}"
                panels.append(Panel(title, _left_out(report.run, score, cost), svg))
    return panels


def _left_out(run: RunFolder, score: MetricColumn, cost: MetricColumn) -> str:
    """List the rows that have the task but not both numbers."""
    drawn = {point.row for point in read_points(run, score, cost)}
    rows = [row.name for row in run.rows if run.of(row.name, score.task) and row.name not in drawn]
    return f"not shown, without a number: {', '.join(rows)}" if rows else ""
