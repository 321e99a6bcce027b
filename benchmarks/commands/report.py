"""`report`: write the reports of a run folder again and print its table."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.commands.request import make_console


def report(options: argparse.Namespace) -> int:
    """Write the reports of a run folder again and print its table."""
    console = make_console()
    page = write_and_print(options.run_dir, console)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)
    return 0


def write_and_print(run_dir: Path, console: Console) -> Path:
    """Write the reports of a run folder and print its table; return the path of the page."""
    # Imported late: figures take a second to import, which planning does not need.
    from benchmarks.report.build import build_report
    from benchmarks.report.text import print_table
    from benchmarks.report.write import write_reports

    report = build_report(run_dir)
    page = write_reports(report)
    print_table(report, console)
    return page
