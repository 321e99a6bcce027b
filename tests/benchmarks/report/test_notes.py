"""The notes and the protocol around a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.fake_run import MEANS, OFFSETS, edit_json, result_file
from support.tables import texts

from benchmarks.report.build import build_report
from benchmarks.report.text import format_markdown


def test_unavailable_row_has_reason(run_dir: Path) -> None:
    def change(plan: dict[str, Any]) -> None:
        plan["rows"][2]["unavailable"] = "trick distill is not in this version"
        plan["rows"][0]["note"] = "the control"
        plan["cells"] = [cell for cell in plan["cells"] if cell["row"] != "tricks"]

    edit_json(run_dir / "plan.json", change)
    assert set(texts(run_dir)["tricks"].values()) == {"unavailable"}
    notes = build_report(run_dir).table.notes
    assert notes == (
        "scratch: the control",
        "tricks is unavailable: trick distill is not in this version",
    )


def test_partial_test_set_is_marked(run_dir: Path) -> None:
    for row in MEANS:
        for seed in OFFSETS:
            path = result_file(run_dir, row, "det", seed)
            edit_json(path, lambda result: result["data"].update(test_images_used=20))
    table = build_report(run_dir).table
    assert "20 of 150 test images (not all)" in dict(table.protocol)["detection"]
    assert any("det was tested on 20 of 150 images" in warning for warning in table.warnings)


def test_frozen_parts_may_differ_by_row(run_dir: Path) -> None:
    for row in MEANS:
        held = "trained" if row == "scratch" else "frozen"
        for seed in OFFSETS:
            path = result_file(run_dir, row, "det", seed)
            edit_json(path, lambda result, held=held: result["protocol"].update(backbone=held))
    table = build_report(run_dir).table
    assert table.warnings == ()
    protocol = dict(table.protocol)["detection"]
    assert "backbone trained (scratch) | frozen (standard, tricks);" in protocol


def test_missing_tensors_have_footnote(run_dir: Path) -> None:
    missing = [f"layer4.{number}.weight" for number in range(6)]
    path = result_file(run_dir, "tricks", "det", 0)
    edit_json(path, lambda result: result["checkpoint"]["source"].update(random=missing))
    report = build_report(run_dir)
    (note,) = [note for note in report.table.notes if "started from random numbers" in note]
    assert note.startswith("tricks: 6 tensors")
    assert note.endswith("layer4.2.weight, layer4.3.weight, …")
    assert note in format_markdown(report)


def test_deterministic_algorithms_are_stated(run_dir: Path) -> None:
    assert "numerics" not in dict(build_report(run_dir).table.environment)
    used = dict(tf32=False, cudnn_benchmark=False, deterministic=True, nondeterministic=["put_"])
    for row in MEANS:
        for seed in OFFSETS:
            path = result_file(run_dir, row, "det", seed)
            edit_json(path, lambda result: result.update(numerics=used))
    environment = dict(build_report(run_dir).table.environment)
    assert environment["numerics"] == "det with deterministic algorithms, except put_"
