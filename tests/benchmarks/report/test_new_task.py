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
from benchmarks.report.pareto import draw_pareto, read_points
from benchmarks.results.columns import cost_column, main_column
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


ERROR = replace(
    DEPTH,
    metrics=(Quantity("rmse", "RMSE", "m", False, required=True, by_default=True),),
    main_metric="rmse",
    per_class=PerClass(scores=(ClassScore("rmse", "error", higher_is_better=False),)),
)


@pytest.fixture
def error_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose last row has the highest top-1 and the lowest error, at the highest cost."""
    monkeypatch.setitem(TASKS, "depth", ERROR)
    means = {
        f"r{place}": {
            "cls": {"top1": 60.0 + place, "top5": 90.0},
            "depth": {"rmse": 20.0 - 2 * place},
        }
        for place in range(4)
    }
    folder = write_run(tmp_path / "error", means=means)
    for place, row in enumerate(means):
        for seed in OFFSETS:
            write_estimates(folder, row, "depth", seed, {"logme": 0.1 * place})
            folder_of_run = work_dir(folder, row, "depth", seed)
            write_evaluation(folder_of_run, {"wall": {"rmse": 0.5 - 0.1 * place}})

            def cost(result: dict, place: int = place) -> None:
                (entry,) = (c for c in result["costs"] if c["name"] == "multiply_adds")
                entry["value"] = 1.0 + place

            edit_json(folder_of_run / "result.json", cost)
    edit_json(folder / "plan.json", lambda plan: plan.update(columns=["top1", "rmse"]))
    return folder


def test_a_lower_error_is_better_everywhere(error_dir: Path) -> None:
    rows = markdown_rows(error_dir)
    assert rows[0][1:3] == ["top-1 ↑", "RMSE (m) ↓"]
    assert [row[2].startswith("**") for row in rows[-4:]] == [False, False, False, True]
    report = build_report(error_dir)
    assert "Metrics in percent where no unit is given; best mean in bold" in report.table.legend
    texts = [finding.text for finding in report.findings]
    assert any(text.startswith("RMSE: all 3 rows beat r0 by more") for text in texts)
    assert any("order by RMSE have Spearman's rank correlation +1.00" in text for text in texts)
    assert any(
        "in the unit of their column, percentage points where it has none" in t for t in texts
    )
    points = read_points(report.run, main_column("depth"), cost_column("depth", "multiply_adds"))
    front = draw_pareto(report, main_column("depth"), cost_column("depth", "multiply_adds"))
    assert len(points) == 4 and front is not None and "opacity: 0.4" not in front
    assert "τ with RMSE +1.00 (p = 0.083, 4" in section(error_dir, "Transferability")
    assert "<b>20.0</b>" in section(error_dir, "By class")
