"""The report's section on costs: what every stage of every row costs, and what a score costs."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape

from benchmarks.columns import (
    COST_COLUMNS,
    EPOCH_MINUTES,
    KNOWN_COLUMNS,
    VARIES_LEGEND,
    MetricColumn,
)
from benchmarks.integrity import cost_warnings
from benchmarks.pareto import draw_pareto, read_points
from benchmarks.report_sections import bullets, panels, plain_table, row_key, section, swatch
from benchmarks.results import MAIN_METRIC, Run
from benchmarks.suite_schema import cost_column
from benchmarks.table import ABSENT, build_cell
from benchmarks.table_notes import STAGE_LABELS

PARETO_COSTS = ("multiply_adds", "latency")


def costs_section(run: Run) -> str:
    """Counts, times and memory of every row by stage, and each stage's score against what it costs."""
    parts = []
    for stage, label in STAGE_LABELS.items():
        if table := _stage_table(run, stage):
            parts.append(f"<h3>{label.capitalize()}</h3>{table}{_circumstances(run, stage)}")
    if not parts:
        return ""
    intro = (
        f'<p class="quiet">{escape(VARIES_LEGEND)} Intervals are those of the means over seeds.</p>'
    )
    body = intro + bullets(cost_warnings(run)) + _pareto(run) + "".join(parts)
    return section("Costs", f'<div class="costs">{body}</div>')


def _stage_table(run: Run, stage: str) -> str:
    """One line a row that has this stage; costs that no row has are left out."""
    extra = (EPOCH_MINUTES,) if stage == "cls" else ()
    rows = [row for row in run.rows if run.of(row.name, stage)]
    shown: list[tuple[MetricColumn, list[str]]] = []
    for column in (*COST_COLUMNS[stage], *extra):
        cells = [build_cell(run, row, column) for row in rows]
        if any(cell.aggregate for cell in cells):
            shown.append((column, [escape(cell.text) for cell in cells]))
    if not shown:
        return ""
    # Headings break between words only, and keep unit, direction and mark together.
    titles = [
        re.sub(" (?=[↑↓†])", "\N{NO-BREAK SPACE}", _short(c, stage).heading) for c, _ in shown
    ]
    lines = [
        [f"{swatch(run, row.name)}{escape(row.name)}", *(texts[place] for _, texts in shown)]
        for place, row in enumerate(rows)
    ]
    return plain_table(["row", *titles], lines)


def _short(column: MetricColumn, stage: str) -> MetricColumn:
    """The column under a heading that names the stage already."""
    return replace(column, label=column.label.removeprefix(f"{stage} "))


def _circumstances(run: Run, stage: str) -> str:
    """How inference was measured, and what could not be."""
    told: dict[str, None] = {}
    notes: dict[str, None] = {}
    for cell in run.cells:
        if cell.stage != stage or cell.result is None or not cell.result.inference:
            continue
        how = cell.result.inference
        told[
            f"{how.get('input', ABSENT)} pixels, {how.get('precision', ABSENT)}, {how.get('threads', ABSENT)} "
            f"thread(s), images/s in batches of {how.get('batch', ABSENT)}"
        ] = None
        notes |= {f"{cell.row} · {stage}: {note}": None for note in how.get("notes", [])}
    if not told:
        return ""
    text = f"Inference on {'; '.join(told)}; latency of one image, median of its runs."
    return f'<p class="quiet">{escape(text)}</p>' + bullets(notes)


def _pareto(run: Run) -> str:
    """A picture for each stage and cost."""
    figures = []
    for stage, metric in MAIN_METRIC.items():
        score = KNOWN_COLUMNS[metric]
        for name in PARETO_COSTS:
            cost = KNOWN_COLUMNS[cost_column(stage, name)]
            title = f"{score.label} against {_short(cost, stage).label}"
            figures.append((title, _left_out(run, score, cost), draw_pareto(run, score, cost)))
    if not any(svg for *_, svg in figures):
        return ""
    intro = (
        '<p class="quiet">The line joins the rows that no other row beats at the same cost or less: the Pareto '
        "front of the means, whose intervals may overlap. Rows off it are lighter.</p>"
    )
    return f"<h3>Score against cost</h3>{row_key(run)}{intro}{panels(figures)}"


def _left_out(run: Run, score: MetricColumn, cost: MetricColumn) -> str:
    """Name the rows that have the stage and lack one of the two numbers."""
    drawn = {point.row for point in read_points(run, score, cost)}
    rows = [row.name for row in run.rows if run.of(row.name, score.stage) and row.name not in drawn]
    return f"not shown for want of a number: {', '.join(rows)}" if rows else ""
