"""A new dense task in the task table appears in every part of the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.estimated_run import write_estimates
from support.fake_run import MEANS, OFFSETS, edit_json, work_dir, write_evaluation, write_run
from support.page import Page, section
from support.tables import csv_rows, markdown_rows

from benchmarks.report.build import build_report
from benchmarks.report.page import format_html
from contract.tasks import TASKS, ClassScore, PerClass, Quantity

DEPTH = replace(
    TASKS["seg"],
    name="depth",
    label="depth estimation",
    metrics=(Quantity("delta1", "δ1", required=True, by_default=True),),
    main_metric="delta1",
    pictures="Depth maps",
    per_class=PerClass(scores=(ClassScore("delta1", "δ1"),), counts=("pixels",)),
)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(TASKS, "depth", DEPTH)
    means = {
        row: {**tasks, "depth": {"delta1": 80.0 + place}}
        for place, (row, tasks) in enumerate(MEANS.items())
    }
    folder = write_run(tmp_path / "four", means=means, pictures=1)
    for row in means:
        for seed in OFFSETS:
            write_estimates(folder, row, "depth", seed, {"logme": 0.5})
            classes = {"wall": {"pixels": 9, "delta1": 0.875}}
            write_evaluation(work_dir(folder, row, "depth", seed), classes)

    def change(plan: dict) -> None:
        plan["columns"] += ["delta1", "depth_latency", "depth_logme"]
        plan["rows"][2].update(depth_tricks=["ema"], depth_lr=0.3)

    edit_json(folder / "plan.json", change)
    return folder


def test_table_columns(run_dir: Path) -> None:
    rows = markdown_rows(run_dir)
    assert rows[0][5:8] == ["δ1 ↑", "depth latency (ms) ↓ †", "LogME, depth (nats)"]
    assert rows[4][5:8] == ["**82.00** ± 1.38", "22.0 ± 1.4", "0.500 ± 0.000"]
    assert csv_rows(run_dir)["tricks", "delta1"]["stage"] == "depth"
    assert csv_rows(run_dir)["tricks", "depth_parameters"]["mean"] == "2.345678"
    report = build_report(run_dir)
    assert report.run.rows[2].overrides == ("depth: ema, lr × 0.3",)
    assert (
        dict(report.table.protocol)["depth estimation"]
        == "any; single-scale; 150 of 150 test images"
    )
    assert any(finding.text.startswith("δ1: ") for finding in report.findings)


def test_page_sections(run_dir: Path) -> None:
    text = format_html(build_report(run_dir))
    Page(text)
    assert "<b>top-1 against δ1</b>" in section(run_dir, "Does top-1 carry over?")
    assert "<b>δ1 against multiply-adds</b>" in section(run_dir, "Costs")
    for title, part in (
        ("Costs", "<h3>Depth estimation</h3>"),
        ("Transferability", "<h3>Depth estimation</h3>"),
        ("Learning curves", "<h3>Depth estimation</h3>"),
        ("By class", "<h3>Depth estimation: δ1 by class</h3>"),
        ("By class", "<b>87.5</b>"),
        ("Pictures", "<h3>Depth maps</h3>"),
        ("Pictures", "tricks, depth estimation: prediction beside truth, 0.png"),
        ("Load reports", '<td class="left">depth</td>'),
        ("Provenance", "depth.train"),
    ):
        assert part in section(run_dir, title), title
