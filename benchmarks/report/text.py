"""Write the table as Markdown, as CSV, and to a terminal."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.plan.document import RowEntry
from benchmarks.report.build import Report
from benchmarks.report.notes import describe_code, describe_protocol
from benchmarks.report.table import Table, TableCell, TableRow
from benchmarks.results.columns import MetricColumn, known_columns
from benchmarks.results.read import COMPLETED, FAILED, MISSING, STALE, RunFolder, metric_values
from benchmarks.results.statistics import aggregate
from contract.result import Result

CSV_FIELDS: tuple[str, ...] = (
    "suite", "row", "backbone", "recipe", "tricks", "pretrain", "stage", "metric", "unit",
    "higher_is_better", "varies", "status", "mean", "std", "ci95_half_width", "n", "planned", "seeds",
    "values", "reference", "budget", "protocol", "test_images_used", "test_images_total",
    "backbone_parameters", "checkpoint_sha256", "code", "device", "precision",
)  # fmt: skip
PUBLISHED_LEGEND = " Below our figures: those that the paper reports."
STATUS_STYLES = {FAILED: "bold red", STALE: "yellow", MISSING: "yellow", "absent": "dim"}
# For metrics that are only in the CSV.
_ORDER = {"score": 0, "estimate": 1}


def headings(table: Table) -> tuple[str, ...]:
    """Return the headings of the table's columns."""
    return (
        "row",
        *(column.heading for column in table.columns),
        "backbone (M)",
        *(f"paper {column.label}" for column in table.references),
    )


def format_markdown(report: Report) -> str:
    """Write the table as GitHub-flavoured Markdown.

    Args:
        report: The report of a run.

    Returns:
        A document: title, table, legend, notes, protocol and environment.
    """
    table = report.table
    lines = [f"# {_escape_markdown(table.title)}", ""]
    if table.banner:
        lines += [f"> **{table.banner}**", ""]
    if table.description:
        lines += [_escape_markdown(table.description), ""]
    for warning in table.warnings:
        lines += [f"> **Warning.** {_escape_markdown(warning)}", ""]
    titles = headings(table)
    lines.append("| " + " | ".join(titles) + " |")
    lines.append("|:--" + "|--:" * (len(titles) - 1) + "|")
    for row in table.rows:
        texts = [_escape_markdown(row.label)]
        texts += [_markdown_cell(row.cells[column.name]) for column in table.columns]
        texts.append(row.parameters_text)
        texts += [row.reference_text(column.name) for column in table.references]
        lines.append("| " + " | ".join(texts) + " |")
    lines += ["", table.legend, ""]
    for heading, bullets in (
        ("Notes", table.notes),
        ("Protocol", [f"{task}: {text}" for task, text in table.protocol]),
        ("Made with", [f"{what}: {value}" for what, value in table.environment]),
    ):
        if bullets:
            lines += [f"**{heading}**", ""]
            lines += [f"- {_escape_markdown(bullet)}" for bullet in bullets] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_cell(cell: TableCell) -> str:
    """Format a cell; only the best mean is bold."""
    return cell.text.replace(cell.mean, f"**{cell.mean}**", 1) if cell.best else cell.text


def _escape_markdown(text: str) -> str:
    """Escape free text, so it is not read as a column, a tag or emphasis."""
    for sign in ("\\", "|", "<", "*", "_", "`"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def format_csv(report: Report) -> str:
    """Write the run as CSV for further work: one line for each row × column, numbers unrounded.

    `seeds` and `values` are lists joined by semicolons, in the same order. If there is no number, the field is empty
    and `status` gives the reason. Metrics outside the table (such as top-5) and all costs are included; `varies` is
    true for quantities that differ from run to run. The column `stage` contains the task, as in `result.json`.

    Args:
        report: The report of a run.

    Returns:
        The text, with a header line.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(CSV_FIELDS), lineterminator="\n")
    writer.writeheader()
    columns = _all_columns(report.run, report.table)
    for row in report.table.rows:
        for column in columns:
            line = _csv_line(report.run, row.row, column, row.cells.get(column.name))
            writer.writerow({**line, "backbone_parameters": row.parameters or ""})
    return stream.getvalue()


def _all_columns(run: RunFolder, table: Table) -> list[MetricColumn]:
    """Return the table's columns, then the scores, estimates and costs that are only in results."""
    known = known_columns()
    found = list(table.columns)
    shown = {column.name for column in found}
    extra: dict[str, MetricColumn] = {
        name: known.get(name, MetricColumn(name, name, record.task))
        for record in run.runs
        for name in record.numbers
        if name not in shown
    }
    # Metrics that are only in a result count as scores.
    return found + sorted(
        extra.values(), key=lambda column: (_ORDER.get(column.kind, len(_ORDER)), column.name)
    )


def _csv_line(
    run: RunFolder, row: RowEntry, column: MetricColumn, cell: TableCell | None
) -> dict[str, str | float | int]:
    """Return the fields of one row × column."""
    records = run.of(row.name, column.task)
    values = metric_values(records, column.name)
    results = [record.result for record in records if record.result is not None]
    metrics = [record.numbers[column.name] for record in records if column.name in record.numbers]
    summary = aggregate(list(values.values()), len(records)) if values else None
    status = cell.status if cell else _status_outside_table(len(values), len(records))
    higher = metrics[0].higher_is_better if metrics else bool(column.higher_is_better)
    line: dict[str, str | float | int] = {
        "suite": run.plan.suite,
        "row": row.name,
        "backbone": row.backbone,
        "recipe": row.recipe or "",
        "tricks": ";".join(row.tricks),
        "pretrain": str(row.pretrain).lower(),
        "stage": column.task,
        "metric": column.name,
        "unit": metrics[0].unit if metrics else column.unit,
        "higher_is_better": str(higher).lower(),
        "varies": str(column.varies).lower(),
        "status": status,
        "n": len(values),
        "planned": len(records),
        "seeds": ";".join(map(str, values)),
        "values": ";".join(map(repr, values.values())),
        "reference": row.reference.get(column.name, ""),
        "budget": run.budget,
    }
    if summary is not None:
        spread = (summary.std, summary.half_width)
        line["mean"] = summary.mean
        line["std"], line["ci95_half_width"] = ("" if value is None else value for value in spread)
    return {**line, **_csv_provenance(results)}


def _status_outside_table(found: int, planned: int) -> str:
    """Return the status of a metric that is not a column of the table."""
    if found:
        return COMPLETED if found == planned else "incomplete"
    return MISSING if planned else "absent"


def _csv_provenance(results: Iterable[Result]) -> dict[str, str]:
    """Return device, code and packages of the values; distinct values are joined by ` | `."""

    def joined(texts: Iterable[object]) -> str:
        return " | ".join(dict.fromkeys(map(str, texts)))

    results = list(results)
    reports = [result.load_report for result in results if result.load_report]
    return {
        "protocol": joined(describe_protocol(r) for r in results),
        "test_images_used": joined(r.data.test_images_used for r in results),
        "test_images_total": joined(r.data.test_images_total for r in results),
        "checkpoint_sha256": joined(report.sha256 for report in reports),
        "code": joined(describe_code(r) for r in results),
        "device": joined(r.device.name for r in results),
        "precision": joined(r.precision.dtype for r in results),
    }


def print_table(report: Report, console: Console) -> None:
    """Print the table, its notes and its warnings.

    Args:
        report: The report of a run.
        console: Where to print.
    """
    table = report.table
    layout = RichTable(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title=Text(table.title, style="bold"),
    )
    for index, heading in enumerate(headings(table)[: 2 + len(table.columns)]):
        layout.add_column(
            heading.replace(" (", "\n("), justify="right" if index else "left", overflow="fold"
        )
    for row in table.rows:
        layout.add_row(
            Text(row.label),
            *(_terminal_cell(row, column.name) for column in table.columns),
            row.parameters_text,
        )
    if table.banner:
        console.print(Text(table.banner, style="bold yellow"))
    console.print(layout)
    published = PUBLISHED_LEGEND if table.references else ""
    console.print(Text(table.legend + published, style="dim"))
    for task, text in table.protocol:
        console.print(Text(f"{task}: {text}", style="dim"))
    for warning in table.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))
    for note in table.notes:
        console.print(Text(f"• {note}"))


def _terminal_cell(row: TableRow, metric: str) -> Text:
    """Format a cell on several lines (number, seeds, published figure) to keep columns narrow."""
    cell = row.cells[metric]
    number = f"{cell.mean} ± {cell.interval}" if cell.interval else cell.mean
    style = "bold" if cell.best else STATUS_STYLES.get(cell.status, "")
    text = Text(number, style=style)
    if cell.shortfall:
        text.append(f"\n{cell.shortfall}", style="yellow")
    if metric in row.row.reference:
        text.append(f"\npaper {row.reference_text(metric)}", style="dim")
    return text


def summarise_states(run: RunFolder) -> str:
    """Return the number of runs in each state, as in `25 completed, 2 failed`."""
    counts = Counter(record.state for record in run.runs)
    order = (COMPLETED, FAILED, STALE, MISSING)
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state])
