"""Build the report of a run; all writers format the same object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.findings import Finding, find_findings
from benchmarks.report.style import RowStyle, row_styles
from benchmarks.report.table import Table, build_table
from benchmarks.results.read import RunFolder, read_run


@dataclass(frozen=True)
class Report:
    """The content of the tables and the page of a run.

    Attributes:
        run: The run folder as read.
        table: Rows × columns.
        findings: Conclusions from the numbers, the most important first.
        styles: Colour and marker of each row.
    """

    run: RunFolder
    table: Table
    findings: tuple[Finding, ...]
    styles: Mapping[str, RowStyle]


def build_report(run_dir: Path) -> Report:
    """Read a run folder and build its report.

    Args:
        run_dir: The folder with `plan.json`.

    Raises:
        UserError: The folder is not a readable run folder.
    """
    run = read_run(run_dir)
    table = build_table(run)
    return Report(run, table, find_findings(run, table), row_styles(run.rows))
