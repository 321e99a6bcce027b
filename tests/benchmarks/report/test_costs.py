"""Costs as the table, its exports and the report show them."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from support.fake_run import (
    COUNTS,
    FAKED,
    MEANS,
    OFFSETS,
    edit_json,
    fail_run,
    result_file,
    write_run,
)

from benchmarks.report.build import build_report
from benchmarks.report.latex import format_latex
from benchmarks.report.page import format_html
from benchmarks.report.table import TableCell
from benchmarks.report.text import format_csv, format_markdown
from benchmarks.report.write import write_reports
from benchmarks.results.statistics import aggregate

SHOWN = ["top1", "multiply_adds", "det_latency", "seg_peak_memory", "seg_train_images_per_second"]


@pytest.fixture
def run_dir(run_dir: Path) -> Path:
    edit_json(run_dir / "plan.json", lambda plan: plan.update(columns=SHOWN))
    return run_dir


def for_all(run_dir: Path, task: str, change: Any) -> None:
    """Change every result of a task."""
    for row in MEANS:
        for seed in OFFSETS:
            path = result_file(run_dir, row, task, seed)
            if path.exists():
                edit_json(path, change)


def forget_costs(result: dict[str, Any]) -> None:
    """Make a result as it was written before costs were measured."""
    for key in ("costs", "inference", "train_images_per_cpu_second"):
        del result[key]
    del result["model"]["parameters"]


def test_units_directions_and_marks(run_dir: Path) -> None:
    report = build_report(run_dir)
    lines = format_markdown(report).splitlines()
    head = next(line for line in lines if line.startswith("| row"))
    assert head == (
        "| row | top-1 ↑ | multiply-adds (G) ↓ | det latency (ms) ↓ † | seg peak memory (MiB) ↓ † "
        "| seg training (images/s) ↑ † | backbone (M) |"
    )
    # The median latencies 24 − 0.6, 24 + 0.1 and 24 + 0.5; the same interval as of a score.
    row = next(line for line in lines if line.startswith("| standard"))
    assert [cell.strip() for cell in row.split("|")[2:7]] == [
        "64.10 ± 1.38", "1.00", "24.0 ± 1.4", "1310 ± 0", "44.1 ± 0.0",
    ]  # fmt: skip
    assert "only ratios within one run on one machine count" in report.table.legend
    assert "†" not in build_report(write_run(run_dir.parent / "plain")).table.legend
    text = format_latex(report)
    assert r"det latency (ms) $\downarrow$$^\dagger$ &" in text
    assert r"multiply-adds (G) $\downarrow$ &" in text


def test_costs_are_never_bold(run_dir: Path) -> None:
    rows = build_report(run_dir).table.rows
    marked = {name for row in rows for name, cell in row.cells.items() if cell.best}
    assert marked == {"top1"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.00881, "0.00881"), (0.5686, "0.569"), (3.858, "3.86"), (11.31, "11.3"), (138.4, "138"), (0.0, "0.00")],
)  # fmt: skip
def test_three_digit_counts(value: float, shown: str) -> None:
    cell = TableCell("completed", aggregate([value] * 3, 3), {}, decimals=None, exact=True)
    assert cell.text == shown


def test_csv_has_all_costs_of_all_tasks(run_dir: Path) -> None:
    lines = {
        (line["row"], line["metric"]): line
        for line in csv.DictReader(io.StringIO(format_csv(build_report(run_dir))), strict=True)
    }
    latency = lines["tricks", "seg_latency"]
    assert (latency["unit"], latency["higher_is_better"], latency["varies"]) == (
        "ms",
        "false",
        "true",
    )
    assert [float(v) for v in latency["values"].split(";")] == [22 + o for o in OFFSETS.values()]
    parameters = lines["scratch", "det_parameters"]
    assert (parameters["mean"], parameters["unit"], parameters["varies"]) == (
        "2.345678",
        "M",
        "false",
    )
    assert lines["scratch", "train_images_per_second"]["status"] == "absent"
    assert lines["tricks", "train_images_per_second"]["higher_is_better"] == "true"
    assert lines["tricks", "peak_memory"]["unit"] == "MiB"
    assert lines["tricks", "top1"]["varies"] == "false"


def section(run_dir: Path) -> str:
    found = re.search(r"<h2>Costs</h2>.*?</section>", format_html(build_report(run_dir)), re.DOTALL)
    return found[0] if found else ""


def test_page_shows_costs_without_columns(tmp_path: Path) -> None:
    text = section(write_run(tmp_path))
    assert text.count("<table") == 3
    assert text.count("<svg") == 6
    count = 3 * COUNTS["tricks"]  # of the segmentor
    assert f"<td>{count:.2f}</td>" in text
    assert "22.0 ± 1.4" in text
    assert "64x64 pixels, float32, 1 thread(s), images/s in batches of 8" in text
    assert "inference memory" not in text  # no row has it


def test_run_without_costs(run_dir: Path) -> None:
    for task in FAKED:
        for_all(run_dir, task, forget_costs)
    write_reports(build_report(run_dir))
    text = section(run_dir)
    assert "44.1" in text and "<svg" not in text
    row = build_report(run_dir).table.rows[1]
    assert row.cells["multiply_adds"].text == "—"
    assert row.cells["seg_peak_memory"].text == "1310 ± 0"


def test_failed_run_is_named_and_not_drawn(run_dir: Path) -> None:
    for seed in OFFSETS:
        fail_run(run_dir, "standard", "det", seed, "boom")
    text = section(run_dir)
    assert "not shown, without a number: standard" in text
    assert "<td>failed</td>" in text


def test_unmeasured_costs_are_explained(run_dir: Path) -> None:
    path = result_file(run_dir, "tricks", "seg", 1)
    edit_json(path, lambda result: result["inference"].update(notes=["times: out of <memory>"]))
    assert "tricks · seg: times: out of &lt;memory&gt;" in section(run_dir)
