"""The page: self-contained, well-formed, safe, and true to the runs."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

from PIL import Image
from support.fake_run import (
    MEANS,
    edit_json,
    fail_run,
    remove_result,
    result_file,
    work_dir,
    write_evaluation,
    write_run,
)
from support.page import Page

from benchmarks.report.build import build_report
from benchmarks.report.page import format_html
from benchmarks.results.pictures import MAX_PICTURES, MAX_WIDTH


def test_well_formed_and_self_contained(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, pictures=6, picture_size=(1200, 90))
    text = format_html(build_report(run_dir))
    page = Page(text)
    assert all(load.startswith(("data:image/", "#")) for load in page.loads)
    assert not re.search(r"@import|url\((?!#)|<script|<link", text)
    assert len(page.ids) == len(set(page.ids))
    pictures = [load for load in page.loads if load.startswith("data:")]
    assert len(pictures) == len(MEANS) * 2 * MAX_PICTURES
    with Image.open(io.BytesIO(base64.b64decode(pictures[0].split(",")[1]))) as picture:
        assert picture.size == (MAX_WIDTH, 36)


def test_names_overrides_of_single_tasks(run_dir: Path) -> None:
    def change(plan: dict) -> None:
        _, standard, tricks = plan["rows"]
        same = ["frozen_backbone"]
        standard.update(det_tricks=same, seg_tricks=same, cls_lr=1.0, det_lr=1.0, seg_lr=1.0)
        tricks.update(det_tricks=["ema"], seg_tricks=[], cls_lr=2.0, det_lr=0.3, seg_lr=1.0)

    edit_json(run_dir / "plan.json", change)
    report = build_report(run_dir)
    assert [row.overrides for row in report.run.rows] == [
        (),
        ("det, seg: frozen_backbone",),
        ("cls: lr × 2", "det: ema, lr × 0.3"),
    ]
    text = format_html(report)
    assert "standard<br>det, seg: frozen_backbone</span>" in text
    assert "mixup<br>cls: lr × 2<br>det: ema, lr × 0.3</span>" in text


def test_has_every_section(run_dir: Path) -> None:
    text = Page(format_html(build_report(run_dir))).text
    for heading in (
        "Results", "Findings", "Does top-1 carry over?", "Learning curves", "Protocol",
        "Load reports", "Provenance", "How to cite",
    ):  # fmt: skip
        assert heading in text
    assert "62 / 62" in text and "random weights" in text
    assert "--set 'note=a b'" in text  # the command line can be pasted into a shell
    assert "Runs without a result" not in text and "Pictures" not in text


def test_escapes_free_text(run_dir: Path) -> None:
    evil = "<script>alert(1)</script> & \"'"

    def change(plan: dict[str, Any]) -> None:
        plan.update(title=evil, description=evil, suite=evil)
        plan["rows"][0]["note"] = evil
        plan["rows"][1]["backbone"] = evil

    edit_json(run_dir / "plan.json", change)
    fail_run(run_dir, "tricks", "seg", 2, evil)
    path = result_file(run_dir, "tricks", "seg", 0)
    edit_json(path, lambda r: r["device"].update(name=evil))
    edit_json(path, lambda r: r["protocol"].update(metric=evil))
    edit_json(path, lambda r: r["inference"].update(notes=[evil]))
    write_evaluation(path.parent, {evil: {"pixels": 5, "iou": 0.25}})
    text = format_html(build_report(run_dir))
    assert "<script" not in text
    assert Page(text).text.count("<script>alert(1)</script>") >= 8


def test_failures_show_message_and_log(run_dir: Path) -> None:
    fail_run(run_dir, "tricks", "seg", 2, "loss is not finite\nat step 12")
    remove_result(run_dir, "standard", "seg", 0)
    text = format_html(build_report(run_dir))
    assert '<details><summary><span class="failed">failed</span> tricks · seg · seed 2' in text
    assert "at step 12\nloss nan\n&lt;stop&gt; &amp; report" in text
    assert "22 completed, 1 failed, 1 missing" in Page(text).text


def test_broken_picture_is_isolated(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, seeds=(0,), pictures=1)
    (work_dir(run_dir, "tricks", "det", 0) / "examples/0.png").write_bytes(b"no picture")
    (work_dir(run_dir, "tricks", "seg", 0) / "examples/0.png").unlink()
    page = Page(format_html(build_report(run_dir)))
    assert page.text.count("the task wrote no readable examples") == 2
    assert len([load for load in page.loads if load.startswith("data:")]) == 4


def test_smoke_banner(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, budget="smoke")
    text = Page(format_html(build_report(run_dir))).text
    assert "These numbers say nothing about any row" in text and "trickssmoke" in text
