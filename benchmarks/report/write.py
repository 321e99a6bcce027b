"""Write the reports of a run: `table.md`, `table.csv`, `table.tex` and `report.html`.

All four are pure functions of the run folder, so writing them twice gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.build import Report
from benchmarks.report.latex import format_latex
from benchmarks.report.page import format_html
from benchmarks.report.text import format_csv, format_markdown
from contract.files import write_text

WRITERS = {
    "table.md": format_markdown,
    "table.csv": format_csv,
    "table.tex": format_latex,
    "report.html": format_html,
}


def write_reports(report: Report) -> Path:
    """Write all reports into the run folder; each file is replaced atomically.

    Args:
        report: The report of the folder.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: A curves or evaluation file cannot be parsed; nothing is written.
    """
    folder = report.run.folder
    texts = {name: write(report) for name, write in WRITERS.items()}
    for name, text in texts.items():
        write_text(folder / name, text)
    return folder / "report.html"
