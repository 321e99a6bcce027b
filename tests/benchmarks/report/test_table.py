"""The table in each of its states."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_run import (
    MEANS,
    OFFSETS,
    edit_json,
    fail_run,
    remove_result,
    result_file,
    write_run,
)
from support.tables import csv_rows, markdown_rows, terminal, texts

from benchmarks.report.build import build_report
from benchmarks.report.latex import format_latex
from benchmarks.report.text import format_markdown

REFERENCES = {"tricks": {"top1": 79.16, "map": 81.1}}


def test_a_finished_run(run_dir: Path) -> None:
    # Offsets −0.6, 0.1, 0.5: s = √0.31, t(0.975, 2) / √3 = 2.484138, so ± 1.38.
    assert texts(run_dir)["tricks"]["map"] == "46.90 ± 1.38"
    assert texts(run_dir)["scratch"]["top1"] == "—"
    table = markdown_rows(run_dir)
    assert table[0] == ["row", "top-1 ↑", "mAP ↑", "PixAcc ↑", "mIoU ↑", "backbone (M)"]
    assert table[2][:3] == ["scratch", "—", "31.50 ± 1.38"]
    assert table[4][1:] == [
        "**68.90** ± 1.38", "**46.90** ± 1.38", "**78.60** ± 1.38", "**42.00** ± 1.38", "1.23",
    ]  # fmt: skip


def test_every_state_is_named(run_dir: Path) -> None:
    for seed in OFFSETS:
        fail_run(run_dir, "standard", "det", seed, "boom\nsecond line")
        remove_result(run_dir, "standard", "seg", seed)
        path = result_file(run_dir, "standard", "cls", seed)
        edit_json(path, lambda result: result.update(identity="other"))
    assert texts(run_dir)["standard"] == {
        "top1": "stale", "map": "failed", "pixacc": "missing", "miou": "missing",
    }  # fmt: skip
    assert [row[0] for row in markdown_rows(run_dir)[2:]] == list(MEANS)
    notes = build_report(run_dir).table.notes
    assert "standard · det · seeds 0, 1, 2: failed (boom)" in notes
    printed = terminal(build_report(run_dir))
    assert "failed (boom)" in printed and "second line" not in printed
    lines = csv_rows(run_dir)
    assert lines["standard", "map"]["status"] == "failed"
    assert lines["standard", "map"]["mean"] == "" and lines["standard", "map"]["n"] == "0"


def test_mixed_states_are_counted(run_dir: Path) -> None:
    fail_run(run_dir, "tricks", "det", 0, "boom")
    remove_result(run_dir, "tricks", "det", 1)
    remove_result(run_dir, "tricks", "det", 2)
    assert texts(run_dir)["tricks"]["map"] == "1 failed, 2 missing"


def test_missing_seeds_are_stated_and_not_bold(run_dir: Path) -> None:
    remove_result(run_dir, "tricks", "det", 0)
    assert texts(run_dir)["tricks"]["map"].endswith("(2 of 3 seeds)")
    assert not any(row.cells["map"].best for row in build_report(run_dir).table.rows)
    remove_result(run_dir, "tricks", "det", 1)
    assert texts(run_dir)["tricks"]["map"] == "47.40 (1 of 3 seeds)"
    assert csv_rows(run_dir)["tricks", "map"]["status"] == "incomplete"
    assert "2 of 3" not in terminal(build_report(run_dir))
    assert "1 of 3" in terminal(build_report(run_dir))


def test_one_seed(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, seeds=(0,))
    assert texts(run_dir)["tricks"]["map"] == "46.30"
    assert "any difference between rows may be chance" in build_report(run_dir).table.legend


def test_single_row_has_no_best(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, means={"standard": MEANS["standard"]})
    assert "**" not in "".join(markdown_rows(run_dir)[2])


def test_ties_are_bold_together(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, means={"a": MEANS["tricks"], "b": MEANS["tricks"]})
    assert [row.cells["map"].best for row in build_report(run_dir).table.rows] == [True, True]


@pytest.mark.parametrize("budget", ["short", "smoke"])
def test_short_budgets_are_marked_everywhere(tmp_path: Path, budget: str) -> None:
    report = build_report(write_run(tmp_path, budget=budget))
    banner = f"{budget.capitalize()} budget"
    assert f"> **{banner}" in format_markdown(report)
    assert f"| tricks ({budget}) |" in format_markdown(report)
    assert f"tricks ({budget})" in format_latex(report) and banner in format_latex(report)
    assert banner in terminal(report)
    marked = any(cell.best for row in report.table.rows for cell in row.cells.values())
    assert marked == (budget == "short")


def test_published_columns(tmp_path: Path) -> None:
    report = build_report(write_run(tmp_path, references=REFERENCES))
    rows = markdown_rows(tmp_path)
    assert rows[0][6:] == ["paper top-1", "paper mAP"]
    assert rows[3][6:] == ["—", "—"] and rows[4][6:] == ["79.16", "81.10"]
    assert r"\multicolumn{2}{c}{published}" in format_latex(report)
    assert "paper 79.16" in terminal(report)


def test_other_protocol_is_absent(tmp_path: Path):
    folder = write_run(tmp_path / "mini")
    edit_json(folder / "plan.json", lambda plan: plan["columns"].append("miou_ms"))
    for row in ("standard", "tricks"):
        for seed in OFFSETS:
            edit_json(
                result_file(folder, row, "seg", seed),
                lambda result: result["metrics"].append(
                    {"name": "miou_ms", "value": 40.0, "unit": "%", "higher_is_better": True}
                ),
            )
    table = build_report(folder).table
    shown = {row.row.name: row.cells["miou_ms"].status for row in table.rows}
    assert (shown["standard"], shown["tricks"], shown["scratch"]) == (
        "completed",
        "completed",
        "absent",
    )
