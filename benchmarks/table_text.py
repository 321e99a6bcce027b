"""The table as Markdown, as CSV, and on a terminal."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.columns import KNOWN_COLUMNS, MEASURED, MetricColumn
from benchmarks.results import Row, Run, metric_values
from benchmarks.statistics import aggregate
from benchmarks.table import (
    Table,
    TableCell,
    TableRow,
    build_table,
)
from benchmarks.table_notes import describe_code, describe_protocol

CSV_FIELDS: tuple[str, ...] = (
    "suite", "row", "backbone", "recipe", "tricks", "pretrain", "stage", "metric", "unit",
    "higher_is_better", "varies", "status", "mean", "std", "ci95_half_width", "n", "planned", "seeds",
    "values", "reference", "budget", "protocol", "test_images_used", "test_images_total",
    "backbone_parameters", "checkpoint_sha256", "code", "device", "precision",
)  # fmt: skip
STATUS_STYLES = {"failed": "bold red", "stale": "yellow", "missing": "yellow", "absent": "dim"}


def headings(table: Table) -> tuple[str, ...]:
    """Return the headings of the table's columns."""
    return (
        "row",
        *(column.heading for column in table.columns),
        "backbone (M)",
        *(f"paper {column.label}" for column in table.references),
    )


def format_markdown(table: Table) -> str:
    """Write the table as GitHub-flavoured Markdown.

    Args:
        table: The table.

    Returns:
        A document: title, table, how to read it, notes, protocol and environment.
    """
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
        ("Protocol", [f"{stage}: {text}" for stage, text in table.protocol]),
        ("Made with", [f"{what}: {value}" for what, value in table.environment]),
    ):
        if bullets:
            lines += [f"**{heading}**", ""]
            lines += [f"- {_escape_markdown(bullet)}" for bullet in bullets] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_cell(cell: TableCell) -> str:
    """Lay out one cell; only the mean of the best is bold."""
    return cell.text.replace(cell.mean, f"**{cell.mean}**", 1) if cell.best else cell.text


def _escape_markdown(text: str) -> str:
    """Keep free text from being read as a column, a tag or emphasis."""
    for sign in ("\\", "|", "<", "*", "_", "`"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def format_csv(run: Run) -> str:
    """Write the run as CSV for further work: one line a row × metric, numbers unrounded.

    `seeds` and `values` are lists joined by semicolons, in the same order. Where there is no number
    the field is empty and `status` says why. Metrics outside the table (as top-5) and all costs are there too;
    `varies` is true of what differs from run to run.

    Args:
        run: A run folder as read.

    Returns:
        The text, with a header line.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(CSV_FIELDS), lineterminator="\n")
    writer.writeheader()
    table = build_table(run)
    for row in table.rows:
        for column in _all_columns(run, table):
            cell = row.cells.get(column.name)
            line = _csv_line(run, row.row, column, cell)
            writer.writerow({**line, "backbone_parameters": row.parameters or ""})
    return stream.getvalue()


def _all_columns(run: Run, table: Table) -> list[MetricColumn]:
    """The table's metrics, then metrics, then costs that only results have."""
    found = list(table.columns)
    for figures in ("metrics", "scores", "costs"):
        names = [column.name for column in found]
        extra = {
            figure.name: result.stage
            for result in run.results
            for figure in getattr(result, figures)
            if figure.name not in names
        }
        found += [
            KNOWN_COLUMNS.get(name, MetricColumn(name, name, stage))
            for name, stage in sorted(extra.items())
        ]
    return found


def _csv_line(
    run: Run, row: Row, column: MetricColumn, cell: TableCell | None
) -> dict[str, str | float | int]:
    """Return the fields of one row × metric."""
    cells = run.of(row.name, column.stage)
    values = metric_values(cells, column.name)
    results = [cell.result for cell in cells if cell.result is not None]
    metrics = [m for m in (result.metric(column.name) for result in results) if m is not None]
    summary = aggregate(list(values.values()), len(cells)) if values else None
    status = cell.status if cell else _status_outside_table(len(values), len(cells))
    line: dict[str, str | float | int] = {
        "suite": run.suite,
        "row": row.name,
        "backbone": row.backbone,
        "recipe": row.recipe or "",
        "tricks": ";".join(row.tricks),
        "pretrain": str(row.pretrain).lower(),
        "stage": column.stage,
        "metric": column.name,
        "unit": metrics[0].unit if metrics else column.unit,
        "higher_is_better": str(
            metrics[0].higher_is_better if metrics else column.merit > 0
        ).lower(),
        "varies": str(column.kind == MEASURED).lower(),
        "status": status,
        "n": len(values),
        "planned": len(cells),
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
    """The status of a metric that is no column of the table."""
    if found:
        return "completed" if found == planned else "incomplete"
    return "missing" if planned else "absent"


def _csv_provenance(results: list) -> dict[str, str]:
    """What the values were measured on and made by; distinct values joined by ` | `."""

    def joined(texts: Iterable[object]) -> str:
        return " | ".join(dict.fromkeys(map(str, texts)))

    return {
        "protocol": joined(describe_protocol(r) for r in results),
        "test_images_used": joined(r.data.test_images_used for r in results),
        "test_images_total": joined(r.data.test_images_total for r in results),
        "checkpoint_sha256": joined(r.checkpoint.sha256 for r in results if r.checkpoint),
        "code": joined(describe_code(r) for r in results),
        "device": joined(r.device_name for r in results),
        "precision": joined(r.dtype for r in results),
    }


def print_table(run: Run, console: Console) -> None:
    """Print the table, its notes and its warnings.

    Args:
        run: A run folder as read.
        console: Where to print.
    """
    table = build_table(run)
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
    published = " Below our figures: those that the paper reports." if table.references else ""
    console.print(Text(table.legend + published, style="dim"))
    for stage, text in table.protocol:
        console.print(Text(f"{stage}: {text}", style="dim"))
    for warning in table.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))
    for note in table.notes:
        console.print(Text(f"• {note}"))


def _terminal_cell(row: TableRow, metric: str) -> Text:
    """Stack a cell's number, its lack of seeds and the published figure, to keep columns narrow."""
    cell = row.cells[metric]
    number = f"{cell.mean} ± {cell.interval}" if cell.interval else cell.mean
    style = "bold" if cell.best else STATUS_STYLES.get(cell.status, "")
    text = Text(number, style=style)
    if cell.shortfall:
        text.append(f"\n{cell.shortfall}", style="yellow")
    if metric in row.row.reference:
        text.append(f"\npaper {row.reference_text(metric)}", style="dim")
    return text


def format_terminal_table(run: Run, width: int = 100) -> str:
    """Return what `print_table` prints, without colours.

    Args:
        run: A run folder as read.
        width: Characters a line.

    Returns:
        The text.
    """
    stream = io.StringIO()
    print_table(run, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


def summarise_states(run: Run) -> str:
    """Say how many cells are in each state, as in `25 completed, 2 failed`."""
    counts = Counter(cell.state for cell in run.cells)
    order = ("completed", "failed", "stale", "missing")
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state])
