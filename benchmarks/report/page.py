"""The HTML report: a self-contained page from the templates in `templates/`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.report.build import Report
from benchmarks.report.costs import cost_tables, pareto_panels
from benchmarks.report.estimates import INTRODUCTION, estimate_tables
from benchmarks.report.figures import Panel, draw_curves, draw_intervals, draw_transfer
from benchmarks.report.latex import format_bibtex
from benchmarks.report.per_class import class_sections
from benchmarks.report.table import ABSENT, TableRow
from benchmarks.report.text import PUBLISHED_LEGEND, headings, summarise_states
from benchmarks.results.columns import VARIES_LEGEND, MetricColumn, main_column
from benchmarks.results.pictures import Strip, read_strips
from benchmarks.results.read import COMPLETED, RunRecord
from benchmarks.results.warnings import cost_warnings
from contract.tasks import SOURCE, TASKS, Task

FOLDER = Path(__file__).resolve().parent
VERDICTS = {"shown": "shown", "open": "cannot tell", "note": "note"}
# In the order of the page; each has a template with the same name.
SECTIONS = (
    "results",
    "findings",
    "transfer",
    "costs",
    "estimates",
    "failures",
    "curves",
    "classes",
    "pictures",
    "protocol",
    "load_reports",
    "provenance",
    "citation",
)
_PARTS_PER_LINE = 3


def format_html(report: Report) -> str:
    """Write the report as one self-contained page.

    Args:
        report: The report of a run.

    Returns:
        The page, without external resources and without scripts.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["command_line"] = _command_line
    return environment.get_template("page.html.j2").render(_content(report))


def _content(report: Report) -> Mapping[str, Any]:
    """Return the values for the templates, which escape all text but insert figures unchanged."""
    run, table = report.run, report.table
    several_seeds = len(run.seeds) > 1
    completed = [record for record in run.runs if record.result is not None]
    return {
        "report": report,
        "run": run,
        "table": table,
        "style": Markup((FOLDER / "report.css").read_text(encoding="utf-8").strip()),
        "sections": SECTIONS,
        "facts": _facts(report),
        "banner": table.banner.partition(":"),
        # Published figures are in the same cell, below ours.
        "headings": headings(table)[: -len(table.references) or None],
        "legend": table.legend + (PUBLISHED_LEGEND if table.references else ""),
        "made_of": _made_of,
        "verdicts": VERDICTS,
        "drawn_rows": _drawn_rows(report),
        "source": main_column(SOURCE),
        "scatter": _transfer_panels(report, several_seeds),
        "intervals": _interval_panels(report, several_seeds),
        "varies_legend": VARIES_LEGEND,
        "cost_warnings": list(cost_warnings(run)),
        "cost_tables": cost_tables(report),
        "pareto": pareto_panels(report),
        "estimates_intro": INTRODUCTION,
        "estimates": estimate_tables(report),
        "failures": [_failure(record) for record in run.runs if record.state != COMPLETED],
        "curves": _curves(report, several_seeds),
        "absent": ABSENT,
        "classes": class_sections(report),
        "pictures": _pictures(report),
        "transferred": [r for r in completed if TASKS[r.task].starts_from is not None],
        "completed": completed,
        "data_notes": list(dict.fromkeys(n for result in run.results for n in result.data.notes)),
        "bibtex": format_bibtex(run),
    }


def _facts(report: Report) -> Mapping[str, str]:
    """Return the facts about the run in the page header."""
    run = report.run
    facts = {
        "runs": summarise_states(run) or "none",
        "seeds": ", ".join(map(str, run.seeds)),
        "budget": run.budget,
    }
    return facts | {
        what: value for what, value in report.table.environment if what in ("code", "device")
    }


def _made_of(row: TableRow) -> Iterator[str]:
    """Yield the lines below a row's name: its backbone and recipe, then overrides of single tasks."""
    planned = row.row
    parts = [planned.backbone, *([planned.recipe] if planned.recipe else []), *planned.tricks]
    if not planned.pretrain:
        parts = [planned.backbone, "no pretraining"]
    # A long recipe on one line would widen the table.
    for start in range(0, len(parts), _PARTS_PER_LINE):
        yield " · ".join(parts[start : start + _PARTS_PER_LINE])
    yield from planned.overrides


def _drawn_rows(report: Report) -> list[str]:
    """Return the names of the rows in the key to colours and markers."""
    with_result = {record.row for record in report.run.runs if record.result}
    return [row.name for row in report.run.rows if row.name in with_result]


def _transfer_panels(report: Report, several_seeds: bool) -> list[Panel]:
    """Draw the source task's main metric against those of the tasks that start from its checkpoint."""
    spread = "mean with 95% interval; faint: single seeds" if several_seeds else "one seed"
    source, columns = main_column(SOURCE), report.table.columns
    panels = []
    for task in TASKS.values():
        target = main_column(task.name)
        if task.starts_from != SOURCE or not task.trains or not {source, target} <= set(columns):
            continue
        svg = draw_transfer(report, target)
        if svg is not None:
            caption = spread + _left_out(report, source, target)
            panels.append(Panel(f"{source.label} against {target.label}", caption, svg))
    return panels


def _left_out(report: Report, source: MetricColumn, target: MetricColumn) -> str:
    """List the rows that a scatter plot cannot show."""
    rows = [
        row.row.name
        for row in report.table.rows
        if row.cells[source.name].status != "absent"
        and not (row.cells[source.name].aggregate and row.cells[target.name].aggregate)
    ]
    return f"; not shown, without a number: {', '.join(rows)}" if rows else ""


def _interval_panels(report: Report, several_seeds: bool) -> list[Panel]:
    spread = "mean with 95% interval; faint: single seeds" if several_seeds else "one seed"
    drawn = [(column, draw_intervals(report, column)) for column in report.table.columns]
    return [Panel(column.label, spread, svg) for column, svg in drawn if svg is not None]


def _curves(report: Report, several_seeds: bool) -> list[tuple[Task, list[Panel]]]:
    """Draw the learning curves of each task that has some."""
    spread = "mean over seeds; thin: single seeds" if several_seeds else "one seed"
    found = []
    for task in TASKS.values():
        panels = [
            Panel(title, spread, svg)
            for title, quantity in (("Training loss", "loss"), ("Validation", "metric"))
            if task.trains and (svg := draw_curves(report, task.name, quantity)) is not None
        ]
        found += [(task, panels)] if panels else []
    return found


def _pictures(report: Report) -> list[tuple[Task, tuple[Strip, ...]]]:
    """Read the example pictures of each task that has some."""
    strips = [
        (task, read_strips(report.run, task.name)) for task in TASKS.values() if task.pictures
    ]
    return [(task, rows) for task, rows in strips if any(strip.pictures for strip in rows)]


def _failure(record: RunRecord) -> tuple[RunRecord, str, str]:
    """Return a run without a result, the first line of its message, and the rest with the end of its log."""
    first, *rest = record.message.strip().splitlines() or ["no message"]
    return record, first, "\n".join([*rest, *record.log_tail])


def _command_line(command: Sequence[str]) -> str:
    """Return a command line for pasting into a shell."""
    return command[0] if len(command) == 1 else shlex.join(command)
