"""The written reports: whole, repeatable, and replaced in one step."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_run import edit_json, fail_run, write_run
from support.page import Page

from benchmarks.report.build import build_report
from benchmarks.report.write import WRITERS, write_reports
from benchmarks.results.read import read_run
from contract.errors import UserError


def test_repeatable_files(run_dir: Path) -> None:
    assert write_reports(build_report(run_dir)) == run_dir / "report.html"
    first = {name: (run_dir / name).read_bytes() for name in WRITERS}
    write_reports(build_report(run_dir))
    assert first == {name: (run_dir / name).read_bytes() for name in WRITERS}
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(
        [*WRITERS, "cells", "plan.json"]
    )
    assert (run_dir / "report.html").stat().st_mode & 0o777 == 0o644


def test_unreadable_run_keeps_earlier_reports(run_dir: Path) -> None:
    write_reports(build_report(run_dir))
    before = (run_dir / "table.md").read_bytes()
    edit_json(run_dir / "plan.json", lambda plan: plan.pop("rows"))
    with pytest.raises(UserError, match="no key 'rows'"):
        write_reports(build_report(run_dir))
    assert (run_dir / "table.md").read_bytes() == before


def test_run_without_results(run_dir: Path) -> None:
    for record in read_run(run_dir).runs:
        fail_run(run_dir, record.row, record.task, record.seed, "boom")
    text = write_reports(build_report(run_dir)).read_text(encoding="utf-8")
    assert "24 failed" in Page(text).text
    assert (run_dir / "table.md").read_text(encoding="utf-8").count("failed |") == 11


def test_full_mini_page_is_small(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, pictures=4, picture_size=(640, 240))
    assert write_reports(build_report(run_dir)).stat().st_size < 3e6
