"""Written tables, parsed as their readers would."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.report.build import Report, build_report
from benchmarks.report.text import format_csv, format_markdown, print_table
from support.fake_run import edit_json


def texts(run_dir: Path) -> dict[str, dict[str, str]]:
    """Return the table's cells as plain text, by row and column."""
    rows = build_report(run_dir).table.rows
    return {row.row.name: {name: cell.text for name, cell in row.cells.items()} for row in rows}


def markdown_rows(run_dir: Path) -> list[list[str]]:
    """Return the cells of the Markdown table."""
    lines = format_markdown(build_report(run_dir)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def csv_rows(run_dir: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return the lines of the CSV, by row and column."""
    reader = csv.DictReader(io.StringIO(format_csv(build_report(run_dir))), strict=True)
    return {(line["row"], line["metric"]): line for line in reader}


def terminal(report: Report, width: int = 100) -> str:
    """Return what `print_table` prints, without colours."""
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


def rename(run_dir: Path, name: str) -> None:
    """Give the row `tricks` and the suite difficult names; the row's runs keep their folders."""

    def change(plan: dict[str, Any]) -> None:
        plan["title"] = "50% of A & B_C #1 {x} ~ ^ \\ $"
        plan["rows"][2]["name"] = name
        for run in plan["cells"]:
            run["row"] = name if run["row"] == "tricks" else run["row"]

    edit_json(run_dir / "plan.json", change)
