"""A report reads each file once and builds the table once for all writers."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.fake_run import MEANS, OFFSETS, evaluate_detector

from benchmarks.report import build
from benchmarks.report.text import print_table
from benchmarks.report.write import write_reports


def counted(counts: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def count(*arguments: Any, **options: Any) -> Any:
        counts[name if name != "read_text" else arguments[0].name] += 1
        return function(*arguments, **options)

    return count


def test_writers_share_one_read_and_table(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in MEANS:
        for seed in OFFSETS:
            evaluate_detector(run_dir, row, seed, 0.5, 0.5)
    counts: Counter[str] = Counter()
    for place, name in ((build, "read_run"), (build, "build_table"), (Path, "read_text")):
        monkeypatch.setattr(place, name, counted(counts, name, getattr(place, name)))
    report = build.build_report(run_dir)
    write_reports(report)
    print_table(report, Console(file=io.StringIO()))
    runs = len(report.run.runs)
    assert {name: counts[name] for name in ("read_run", "build_table", "plan.json")} == {
        "read_run": 1,
        "build_table": 1,
        "plan.json": 1,
    }
    assert counts["result.json"] == counts["curves.json"] == counts["cell.json"] == runs
    assert counts["evaluation.json"] == len(MEANS) * len(OFFSETS)
