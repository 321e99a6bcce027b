"""Figures are well-formed, repeatable, themed, and show every row."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from support.fake_run import MEANS, fail_run, work_dir, write_run

from benchmarks.report.build import build_report
from benchmarks.report.figures import draw_curves, draw_intervals, draw_transfer
from benchmarks.results.columns import known_columns
from benchmarks.results.read import read_run

MAP = known_columns()["map"]


def colours(svg: str | None) -> set[str]:
    return set(re.findall(r"--(?:series-\d|control)", svg or ""))


def test_each_figure_is_valid_svg(run_dir: Path) -> None:
    report = build_report(run_dir)
    figures = [draw_curves(report, "det", "loss"), draw_transfer(report, MAP)]
    figures.append(draw_intervals(report, MAP))
    ids: list[str] = []
    for svg in figures:
        assert svg is not None and "http" not in svg and "<metadata" not in svg
        ElementTree.fromstring(svg)
        ids += re.findall(r'\bid="([^"]+)"', svg)
        for target in re.findall(r'(?:href="#|url\(#)([^")]+)', svg):
            assert f'id="{target}"' in svg
    assert len(ids) == len(set(ids))


def test_repeatable(run_dir: Path) -> None:
    first, second = build_report(run_dir), build_report(run_dir)
    assert draw_curves(first, "seg", "metric") == draw_curves(second, "seg", "metric")


def test_colours_are_stable_when_rows_fail(run_dir: Path) -> None:
    before = draw_curves(build_report(run_dir), "cls", "loss")
    assert colours(before) == {"--series-0", "--series-1"}
    for seed in (0, 1, 2):
        fail_run(run_dir, "standard", "cls", seed, "boom")
    assert colours(draw_curves(build_report(run_dir), "cls", "loss")) == {"--series-1"}


def test_unpretrained_rows_are_grey_levels(run_dir: Path) -> None:
    svg = draw_transfer(build_report(run_dir), MAP)
    assert colours(svg) == {"--control", "--series-0", "--series-1"}
    assert svg is not None and ">scratch</text>" in svg


def test_row_without_number_keeps_position(run_dir: Path) -> None:
    for seed in (0, 1, 2):
        fail_run(run_dir, "standard", "det", seed, "boom")
    svg = draw_intervals(build_report(run_dir), MAP)
    assert svg is not None and ">standard</text>" in svg and ">failed</text>" in svg


def test_empty_figure_is_none(run_dir: Path) -> None:
    for record in read_run(run_dir).runs:
        (record.folder / "curves.json").unlink()
        (record.folder / "result.json").unlink()
    report = build_report(run_dir)
    assert draw_curves(report, "cls", "loss") is None
    assert draw_transfer(report, MAP) is None and draw_intervals(report, MAP) is None


def test_single_seed_is_drawn(tmp_path: Path) -> None:
    report = build_report(write_run(tmp_path, seeds=(0,)))
    assert draw_transfer(report, MAP) and draw_curves(report, "cls", "metric")


def test_unequal_curves_are_averaged_where_they_overlap(run_dir: Path) -> None:
    path = work_dir(run_dir, "tricks", "det", 0) / "curves.json"
    path.write_text('{"train": [{"epoch": 0.1, "loss": 1.0}], "val": []}')
    assert draw_curves(build_report(run_dir), "det", "loss")


def test_unicode_and_mathtext_names(tmp_path: Path) -> None:
    means = {"$x_1 轮 & <b>": MEANS["tricks"]}
    report = build_report(write_run(tmp_path, seeds=(0, 1), means=means))
    svg = draw_intervals(report, MAP)
    assert svg is not None and "$x_1 轮 &amp; &lt;b&gt;" in svg
