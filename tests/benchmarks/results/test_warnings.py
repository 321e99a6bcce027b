"""Warnings about a doubtful table stand above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fake_run import edit_json, result_file, work_dir, write_json, write_run
from support.tables import terminal

from benchmarks.report.build import build_report
from benchmarks.report.page import format_html
from benchmarks.report.text import format_markdown
from benchmarks.results.read import read_run
from benchmarks.results.warnings import cost_warnings


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda r: r.update(checkpoint=None), "started from random weights"),
        (lambda r: r["checkpoint"].update(matched=60), "60 of 62 tensors"),
        (lambda r: r["checkpoint"].update(sha256="0"), "loaded different checkpoints"),
        (lambda r: r["protocol"].update(metric="COCO"), "mixes protocols"),
        (
            lambda r: r["data"].update(test_images_total=149, test_images_used=149),
            "of different sizes",
        ),
        (lambda r: r["precision"].update(dtype="float32"), "mixes precisions"),
        (lambda r: r["code"].update(git_sha="b" * 40), "more than one commit"),
        (lambda r: r["code"].update(dirty=True), "uncommitted changes"),
    ],
)
def test_warnings_are_above_table(run_dir: Path, change: Any, warning: str) -> None:
    assert build_report(run_dir).table.warnings == ()
    edit_json(result_file(run_dir, "tricks", "det", 0), change)
    report = build_report(run_dir)
    assert any(warning in text for text in report.table.warnings)
    assert "> **Warning.**" in format_markdown(report)
    assert "Warning:" in terminal(report)


@pytest.mark.parametrize("intended", [{}, {"protocol": "few-shot rows beside full ones"}])
def test_training_subset_is_a_protocol(run_dir: Path, intended: dict[str, str]) -> None:
    edit_json(run_dir / "plan.json", lambda plan: plan.update(intended=intended))
    path = result_file(run_dir, "tricks", "seg", 0)
    warning = "The seg column mixes training sets of different sizes."
    edit_json(path, lambda result: result["data"].update(train_images_used=7))
    assert (warning in build_report(run_dir).table.warnings) == (not intended)
    edit_json(path, lambda result: result["data"].update(train_images_total=8))
    assert warning in build_report(run_dir).table.warnings


def test_checkpoint_in_control(run_dir: Path) -> None:
    report = {"sha256": "1", "matched": 1, "total": 1, "source": None}
    path = result_file(run_dir, "scratch", "seg", 0)
    edit_json(path, lambda result: result.update(checkpoint=report))
    assert any("trains from scratch" in text for text in build_report(run_dir).table.warnings)


def test_teacher_worse_than_student(tmp_path: Path):
    means: Any = {
        name: {"cls": {"top1": top1, "top5": 90.0}, "det": None, "seg": None}
        for name, top1 in (("plain", 50.0), ("student", 60.0), ("big", 55.0))
    }
    folder = write_run(tmp_path / "mini", means=means)

    def add_teacher(plan: dict[str, Any]) -> None:
        plan["teachers"] = [row for row in plan["rows"] if row["name"] == "big"]
        plan["rows"] = [row for row in plan["rows"] if row["name"] != "big"]
        plan["rows"][1]["teacher"] = "big"

    edit_json(folder / "plan.json", add_teacher)
    # A teacher has only the first seed, 0.6 below the mean.
    (warning,) = build_report(folder).table.warnings
    assert warning.startswith("student (60.0 top-1) was distilled from big, which is worse (54.4):")


def test_diverged_training(tmp_path: Path):
    folder = write_run(tmp_path / "mini")
    curves = work_dir(folder, "tricks", "det", 1) / "curves.json"

    def warnings_for(*losses: float) -> tuple[str, ...]:
        points = [{"epoch": n / 10, "loss": loss} for n, loss in enumerate(losses)]
        write_json(curves, {"train": points, "val": []})
        return build_report(folder).table.warnings

    # A spike of one point in a tenth of two is no divergence, a plateau of two is.
    fine = [2.0] * 20
    assert warnings_for(*fine) == warnings_for(*fine[:10], 5.9, *fine[11:]) == ()
    (warning,) = warnings_for(*fine[:10], 9.0, 11.0, *fine[12:])
    assert warning.startswith(
        "tricks · det · seed 1: the training loss rose to 5.0 times its start"
    )
    assert "sweep SUITE --task det" in warning
    notes = [finding.text for finding in build_report(folder).findings]
    assert any(text.startswith("tricks · det diverged") for text in notes)
    assert warnings_for(*fine[:3], 99.0) == ()


def test_different_data_and_batches(tmp_path: Path):
    folder = write_run(tmp_path / "mini")
    path = result_file(folder, "tricks", "cls", 0)
    edit_json(path, lambda result: result["protocol"].update(batch="128 images a step"))
    assert build_report(folder).table.warnings == ()
    edit_json(path, lambda result: result["data"].update(fingerprint="ab" * 32))
    assert build_report(folder).table.warnings == ("The cls column mixes data sets.",)


def test_costs_of_two_machines(run_dir: Path) -> None:
    edit_json(run_dir / "plan.json", lambda plan: plan["columns"].append("det_latency"))
    assert list(cost_warnings(read_run(run_dir))) == []
    path = result_file(run_dir, "tricks", "det", 1)
    edit_json(path, lambda result: result["device"].update(name="Epyc"))
    (warning,) = cost_warnings(read_run(run_dir))
    assert warning == (
        "Costs of det were measured on different devices or numbers of threads (1 × Xeon 8488C | 1 × Epyc): "
        "times and memory do not compare."
    )
    assert warning in build_report(run_dir).table.warnings
    assert warning in format_html(build_report(run_dir))


def test_costs_at_two_sizes(run_dir: Path) -> None:
    path = result_file(run_dir, "tricks", "seg", 1)
    edit_json(path, lambda result: result["inference"].update(input="96x96"))
    (warning,) = cost_warnings(read_run(run_dir))
    assert warning == (
        "Costs of seg were measured on inputs of different sizes (64x64 | 96x96): "
        "neither times nor multiply-adds compare."
    )


def test_scores_do_not_warn_of_threads(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path)
    path = result_file(run_dir, "tricks", "det", 1)
    edit_json(path, lambda result: result["device"].update(count=4))
    assert not [text for text in build_report(run_dir).table.warnings if "threads" in text]
    assert "numbers of threads" in format_html(build_report(run_dir))
