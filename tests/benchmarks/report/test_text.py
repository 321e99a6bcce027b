"""The table as Markdown, as CSV and on a terminal."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from support.fake_run import MEANS, OFFSETS, write_run
from support.tables import csv_rows, markdown_rows, rename, terminal

from benchmarks.report.build import build_report
from benchmarks.report.text import format_markdown

REFERENCES = {"tricks": {"top1": 79.16, "map": 81.1}}


def test_csv_round_trip(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, references=REFERENCES)
    lines = csv_rows(run_dir)
    # The table's four metrics, top-5, and each task's five costs and five that have keys of their own.
    assert len(lines) == len(MEANS) * (5 + 3 * (5 + 5))
    line = lines["tricks", "map"]
    values = [float(value) for value in line["values"].split(";")]
    assert values == [46.9 + offset for offset in OFFSETS.values()]
    assert line["seeds"] == "0;1;2"
    assert float(line["mean"]) == pytest.approx(statistics.mean(values))
    assert float(line["std"]) == pytest.approx(statistics.stdev(values))
    assert line["protocol"] == "VOC07 11-point AP50, strict; single-scale"  # has a comma in it
    assert (line["reference"], line["status"], line["budget"]) == ("81.1", "completed", "full")
    assert lines["scratch", "top1"]["status"] == "absent"
    assert len(line["checkpoint_sha256"].split(" | ")) == 3


def test_markdown_escapes_names(run_dir: Path) -> None:
    rename(run_dir, "a|b*c_<d>")
    assert {len(row) for row in markdown_rows(run_dir)} == {6}
    assert r"a\|b\*c\_\<d>" in format_markdown(build_report(run_dir))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_wraps_text(run_dir: Path, width: int) -> None:
    text = terminal(build_report(run_dir), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "tricks" in text
