"""Write the reports of a run: `table.md`, `table.csv`, `table.tex` and `report.html`.

All four are pure functions of the run folder: written twice, they are the same bytes.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from benchmarks import report_sections as sections
from benchmarks.latex import format_latex
from benchmarks.report_classes import classes_section
from benchmarks.report_costs import costs_section
from benchmarks.report_transferability import transferability_section
from benchmarks.results import Run, read_run
from benchmarks.table import Table, build_table
from benchmarks.table_text import format_csv, format_markdown, summarise_states
from contract.files import write_text

FOLDER = Path(__file__).resolve().parent


def write_reports(run_dir: Path) -> Path:
    """Write all reports of a run folder; each file is replaced in one step.

    Args:
        run_dir: The folder that holds `plan.json`.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: The folder cannot be read as a run; no file is touched then.
    """
    run = read_run(run_dir)
    texts = {
        "table.md": format_markdown(build_table(run)),
        "table.csv": format_csv(run),
        "table.tex": format_latex(run),
        "report.html": format_html(run),
    }
    for name, text in texts.items():
        write_text(run_dir / name, text)
    return run_dir / "report.html"


def format_html(run: Run) -> str:
    """Write the report as one self-contained page.

    Args:
        run: A run folder as read.

    Returns:
        The page; it loads nothing from elsewhere.
    """
    table = build_table(run)
    parts = (
        sections.table_section(run, table),
        sections.findings_section(run, table),
        sections.transfer_section(run, table),
        costs_section(run),
        transferability_section(run),
        sections.failures_section(run),
        sections.curves_section(run),
        classes_section(run),
        sections.pictures_section(run),
        sections.protocol_section(table),
        sections.receipts_section(run),
        sections.provenance_section(run, table),
        sections.citation_section(run),
    )
    page = Template((FOLDER / "report_page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(run.title),
        suite=escape(run.suite),
        description=escape(run.description),
        style=(FOLDER / "report.css").read_text(encoding="utf-8").strip(),
        facts=_facts(run, table),
        sections="\n".join(part for part in parts if part),
    )


def _facts(run: Run, table: Table) -> str:
    """The head of the page: what was run, and every reason for care."""
    facts = {
        "cells": summarise_states(run) or "none",
        "seeds": ", ".join(map(str, run.seeds)),
        "budget": run.budget,
    }
    facts.update(entry for entry in table.environment if entry[0] in ("code", "device"))
    items = "".join(
        f"<li><span>{escape(what)}</span> <b>{escape(value)}</b></li>"
        for what, value in facts.items()
    )
    what, _, consequence = table.banner.partition(":")
    banners = [f"<b>{escape(what)}:</b>{escape(consequence)}"] if table.banner else []
    banners += [f"<b>Check.</b> {escape(warning)}" for warning in table.warnings]
    shown = "".join(f'<p class="banner">{banner}</p>' for banner in banners)
    return f'<ul class="facts">{items}</ul>{shown}'
