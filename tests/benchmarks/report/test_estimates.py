"""Transferability estimates as the table, its exports and the page show them."""

from pathlib import Path

import pytest
from support.estimated_run import freeze, write_estimated_run, write_estimates
from support.fake_run import edit_json, write_run
from support.page import section

from benchmarks.report.build import build_report
from benchmarks.report.latex import format_latex
from benchmarks.report.text import format_csv

TITLE = "Transferability"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_estimated_run(tmp_path / "mini")


def test_section_shows_estimate_metric_and_agreement(run_dir: Path):
    text = section(run_dir, TITLE)
    assert "<h3>Detection</h3>" in text and "<h3>Segmentation</h3>" not in text
    assert "<td>−0.210</td><td>1.500</td><td>—</td><td>752, 753</td>" in text
    assert "scratch <span" in text and "not pretrained" in text
    assert (
        "LogME: Kendall&#39;s τ with mAP +0.80 (p = 0.083, 5 pretrained rows), weighted τ +0.8"
        in text
    )
    assert (
        "H-score: no rank correlation with mAP: all 5 pretrained rows have the same value" in text
    )
    assert (
        "LEEP: no rank correlation with mAP: 0 pretrained rows have both, and fewer than 4 are no ranking."
        in text
    )


def test_ranks_rows_of_same_protocol(run_dir: Path):
    # Only the row with the lowest score is left out: b and c swap places in the other four.
    freeze(run_dir, "a")
    text = section(run_dir, TITLE)
    assert "LogME, rows with no tricks: Kendall&#39;s τ with mAP +0.67" in text
    assert "4 pretrained rows" in text and "frozen_backbone" not in text


def test_no_ranking_across_protocols(run_dir: Path):
    freeze(run_dir, "a", "b")
    text = section(run_dir, TITLE)
    assert text.count("No rank correlation with mAP: ") == 1
    assert "and no tricks have 4 pretrained rows" in text and "LogME:" not in text


def test_no_section_without_estimates(tmp_path: Path):
    assert section(write_run(tmp_path / "old"), TITLE) == ""


def test_smoke_run_has_no_ranking(tmp_path: Path):
    folder = write_run(tmp_path / "mini-smoke", budget="smoke", seeds=(0,))
    write_estimates(folder, "tricks", "seg", 0, {"logme": 0.2})
    text = section(folder, TITLE)
    assert "0.200" in text and "correlation" not in text


def test_columns_of_table_and_csv(run_dir: Path):
    columns = ["map", "det_logme", "det_hscore", "det_leep"]
    edit_json(run_dir / "plan.json", lambda plan: plan.update(columns=columns))
    report = build_report(run_dir)
    table = report.table
    assert [column.heading for column in table.columns] == [
        "mAP ↑",
        "LogME, det (nats)",
        "H-score, det (ratio)",
        "LEEP, det (nats)",
    ]
    row = next(row for row in table.rows if row.row.name == "a")
    assert [row.cells[name].mean for name in columns] == ["39.75", "-0.210", "1.500", "—"]
    # The control's LogME is the highest but not marked as best, since it is a prediction.
    assert not any(row.cells["det_logme"].best for row in table.rows)
    assert r"$-$0.210" in format_latex(report)
    lines = format_csv(report).splitlines()
    assert sum(",det,det_logme,nats,true,false,completed," in line for line in lines) == 6


def test_csv_has_estimates_without_column(run_dir: Path):
    assert ",det,det_hscore,ratio,true,false,completed,1.5," in format_csv(build_report(run_dir))
