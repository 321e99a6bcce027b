"""The written reports: whole, self-contained, repeatable, and true to the cells."""

from __future__ import annotations

import base64
import functools
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_run import MEANS, OFFSETS, cell_dir, edit_json, fail_cell, remove_result, write_run
from PIL import Image

from benchmarks.findings import find_findings
from benchmarks.pictures import MAX_PICTURES, MAX_WIDTH
from benchmarks.report import format_html, write_reports
from benchmarks.results import read_run
from benchmarks.table import build_table
from contract.errors import UserError

VOID = {"meta", "img", "br", "link", "input", "hr"}
NAMES = ("table.md", "table.csv", "table.tex", "report.html")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "mini")


class Page(HTMLParser):
    """Checks that tags nest, and collects what a browser would load and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "data") or (name == "href" and tag != "a"):
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def findings(run_dir: Path) -> list[tuple[str, str]]:
    run = read_run(run_dir)
    return [(finding.kind, finding.text) for finding in find_findings(run, build_table(run))]


def test_writes_all_files_twice_the_same(run_dir: Path) -> None:
    assert write_reports(run_dir) == run_dir / "report.html"
    first = {name: (run_dir / name).read_bytes() for name in NAMES}
    write_reports(run_dir)
    assert first == {name: (run_dir / name).read_bytes() for name in NAMES}
    assert sorted(path.name for path in run_dir.iterdir()) == sorted([*NAMES, "cells", "plan.json"])
    assert (run_dir / "report.html").stat().st_mode & 0o777 == 0o644


def test_an_unreadable_run_leaves_earlier_reports(run_dir: Path) -> None:
    write_reports(run_dir)
    before = (run_dir / "table.md").read_bytes()
    edit_json(run_dir / "plan.json", lambda plan: plan.pop("rows"))
    with pytest.raises(UserError, match="no key 'rows'"):
        write_reports(run_dir)
    assert (run_dir / "table.md").read_bytes() == before


def test_the_page_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, pictures=6, picture_size=(1200, 90))
    text = format_html(read_run(run_dir))
    page = Page(text)
    assert all(load.startswith(("data:image/", "#")) for load in page.loads)
    assert not re.search(r"@import|url\((?!#)|<script|<link", text)
    assert len(page.ids) == len(set(page.ids))
    pictures = [load for load in page.loads if load.startswith("data:")]
    assert len(pictures) == len(MEANS) * 2 * MAX_PICTURES
    with Image.open(io.BytesIO(base64.b64decode(pictures[0].split(",")[1]))) as picture:
        assert picture.size == (MAX_WIDTH, 36)


def test_a_row_tells_what_single_stages_do_otherwise(run_dir: Path) -> None:
    def change(plan: dict) -> None:
        _, standard, tricks = plan["rows"]
        same = ["frozen_backbone"]
        standard.update(det_tricks=same, seg_tricks=same, cls_lr=1.0, det_lr=1.0, seg_lr=1.0)
        tricks.update(det_tricks=["ema"], seg_tricks=[], cls_lr=2.0, det_lr=0.3, seg_lr=1.0)

    edit_json(run_dir / "plan.json", change)
    run = read_run(run_dir)
    assert [row.departures for row in run.rows] == [
        (),
        ("det, seg: frozen_backbone",),
        ("cls: lr × 2", "det: ema, lr × 0.3"),
    ]
    text = format_html(run)
    assert "standard<br>det, seg: frozen_backbone</span>" in text
    assert "mixup<br>cls: lr × 2<br>det: ema, lr × 0.3</span>" in text


def test_rows_with_the_same_cells_are_not_compared(run_dir: Path) -> None:
    def share(plan: dict) -> None:
        cells = {(cell["row"], cell["stage"], cell["seed"]): cell for cell in plan["cells"]}
        for (row, stage, seed), cell in cells.items():
            if (row, stage) == ("tricks", "cls"):
                cell["identity"] = cells["standard", "cls", seed]["identity"]
                path = run_dir / cell["path"] / "result.json"
                edit_json(path, functools.partial(dict.update, identity=cell["identity"]))

    assert any("top-1: tricks" in text for _, text in findings(run_dir))
    edit_json(run_dir / "plan.json", share)
    told = [text for _, text in findings(run_dir)]
    assert not any(text.startswith("top-1:") for text in told)
    assert any(text.startswith("mAP: tricks") for text in told)


def test_the_page_of_a_full_mini_run_is_small(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, pictures=4, picture_size=(640, 240))
    assert write_reports(run_dir).stat().st_size < 3e6


def test_the_page_has_every_section(run_dir: Path) -> None:
    text = Page(format_html(read_run(run_dir))).text
    for heading in (
        "Results", "Findings", "Does top-1 carry over?", "Learning curves", "Protocol",
        "Transfer receipts", "Provenance", "How to cite",
    ):  # fmt: skip
        assert heading in text
    assert "62 / 62" in text and "random weights" in text
    assert "--set 'note=a b'" in text  # the command line can be pasted into a shell
    assert "Cells without a result" not in text and "Pictures" not in text


def test_free_text_is_escaped(run_dir: Path) -> None:
    evil = "<script>alert(1)</script> & \"'"

    def change(plan: dict[str, Any]) -> None:
        plan.update(title=evil, description=evil, suite=evil)
        plan["rows"][0]["note"] = evil
        plan["rows"][1]["backbone"] = evil

    edit_json(run_dir / "plan.json", change)
    fail_cell(run_dir, "tricks", "seg", 2, evil)
    path = cell_dir(run_dir, "tricks", "seg", 0) / "result.json"
    edit_json(path, lambda r: r["device"].update(name=evil))
    edit_json(path, lambda r: r["protocol"].update(metric=evil))
    text = format_html(read_run(run_dir))
    assert "<script" not in text
    assert Page(text).text.count("<script>alert(1)</script>") >= 6


def test_failures_show_their_message_and_log(run_dir: Path) -> None:
    fail_cell(run_dir, "tricks", "seg", 2, "loss is not finite\nat step 12")
    remove_result(run_dir, "standard", "seg", 0)
    text = format_html(read_run(run_dir))
    assert '<details><summary><span class="failed">failed</span> tricks · seg · seed 2' in text
    assert "at step 12\nloss nan\n&lt;stop&gt; &amp; report" in text
    assert "22 completed, 1 failed, 1 missing" in Page(text).text


def test_a_run_without_any_result_still_has_a_report(run_dir: Path) -> None:
    for cell in read_run(run_dir).cells:
        fail_cell(run_dir, cell.row, cell.stage, cell.seed, "boom")
    text = (write_reports(run_dir)).read_text(encoding="utf-8")
    assert "24 failed" in Page(text).text
    assert (run_dir / "table.md").read_text(encoding="utf-8").count("failed |") == 11


def test_a_broken_picture_costs_only_itself(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, seeds=(0,), pictures=1)
    (cell_dir(run_dir, "tricks", "det", 0) / "examples/0.png").write_bytes(b"no picture")
    (cell_dir(run_dir, "tricks", "seg", 0) / "examples/0.png").unlink()
    page = Page(format_html(read_run(run_dir)))
    assert page.text.count("the stage wrote no readable examples") == 2
    assert len([load for load in page.loads if load.startswith("data:")]) == 4


def test_smoke_runs_have_a_banner_and_no_findings(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, budget="smoke")
    text = Page(format_html(read_run(run_dir))).text
    assert "These numbers say nothing about any row" in text and "trickssmoke" in text
    assert [kind for kind, _ in findings(run_dir)] == ["note"]


def test_findings_say_what_is_shown(run_dir: Path) -> None:
    found = findings(run_dir)
    # s² = 0.31 in both rows, so the difference has ± t(0.975, 4) √(2 · 0.31 / 3) = 2.776 · 0.4546.
    text = (
        "mAP: both standard and tricks beat scratch by more than the spread over seeds: standard "
        "+12.30 (+11.04 to +13.56) and tricks +15.40 (+14.14 to +16.66)."
    )
    assert ("shown", text) in found
    assert any(
        kind == "open" and text.startswith("mIoU: these seeds cannot tell tricks from standard")
        for kind, text in found
    )


def test_findings_of_one_seed_compare_nothing(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, seeds=(0,))
    ((kind, text),) = findings(run_dir)
    assert kind == "note" and "at least three seeds" in text


def test_findings_name_rows_that_fall_short_and_rows_without_a_number(run_dir: Path) -> None:
    for seed in OFFSETS:
        path = cell_dir(run_dir, "tricks", "det", seed) / "result.json"
        edit_json(path, lambda result: result["metrics"][0].update(value=5 + result["seed"] / 10))
        fail_cell(run_dir, "standard", "seg", seed, "boom")
    texts = [text for _, text in findings(run_dir)]
    assert any(text.startswith("mAP: tricks falls short of scratch by more") for text in texts)
    assert "mIoU: there is no number for standard." in texts
    assert "mIoU: standard has no number, so nothing is compared with it." in texts


def test_findings_rank_four_rows(tmp_path: Path) -> None:
    means = {
        f"r{index}": {
            "cls": {"top1": 60.0 + index},
            "det": {"map": 40.0 + index},
            "seg": {"pixacc": 70.0, "miou": 40.0 - index},
        }
        for index in range(4)
    }
    texts = [text for _, text in findings(write_run(tmp_path, means=means))]
    assert any("order by mAP have Spearman's rank correlation +1.00" in text for text in texts)
    assert any("order by mIoU have Spearman's rank correlation −1.00" in text for text in texts)
    assert not any("order by PixAcc" in text for text in texts)  # all rows are equal there
