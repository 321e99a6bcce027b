"""Figures are well-formed, repeatable, themed, and show every row."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_run import MEANS, cell_dir, fail_cell, write_run

from benchmarks.columns import KNOWN_COLUMNS
from benchmarks.figures import draw_curves, draw_intervals, draw_transfer, row_styles
from benchmarks.results import Run, read_run
from benchmarks.table import build_table

MAP = KNOWN_COLUMNS["map"]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "mini")


def colours(svg: str | None) -> set[str]:
    return set(re.findall(r"--(?:series-\d|control)", svg or ""))


def test_every_figure_is_an_svg_of_its_own(run_dir: Path) -> None:
    run = read_run(run_dir)
    table = build_table(run)
    figures = [draw_curves(run, "det", "loss"), draw_transfer(run, table, MAP)]
    figures.append(draw_intervals(run, table, MAP))
    ids: list[str] = []
    for svg in figures:
        assert svg is not None and "http" not in svg and "<metadata" not in svg
        ElementTree.fromstring(svg)
        ids += re.findall(r'\bid="([^"]+)"', svg)
        for target in re.findall(r'(?:href="#|url\(#)([^")]+)', svg):
            assert f'id="{target}"' in svg
    assert len(ids) == len(set(ids))


def test_the_same_run_gives_the_same_figure(run_dir: Path) -> None:
    first, second = read_run(run_dir), read_run(run_dir)
    assert draw_curves(first, "seg", "metric") == draw_curves(second, "seg", "metric")


def test_a_row_keeps_its_colour_when_others_fail(run_dir: Path) -> None:
    before = draw_curves(read_run(run_dir), "cls", "loss")
    assert colours(before) == {"--series-0", "--series-1"}
    for seed in (0, 1, 2):
        fail_cell(run_dir, "standard", "cls", seed, "boom")
    assert colours(draw_curves(read_run(run_dir), "cls", "loss")) == {"--series-1"}


def test_rows_without_pretraining_are_a_level_in_grey(run_dir: Path) -> None:
    run = read_run(run_dir)
    svg = draw_transfer(run, build_table(run), MAP)
    assert colours(svg) == {"--control", "--series-0", "--series-1"}
    assert svg is not None and ">scratch</text>" in svg


def test_a_row_without_the_number_keeps_its_place(run_dir: Path) -> None:
    for seed in (0, 1, 2):
        fail_cell(run_dir, "standard", "det", seed, "boom")
    run = read_run(run_dir)
    svg = draw_intervals(run, build_table(run), MAP)
    assert svg is not None and ">standard</text>" in svg and ">failed</text>" in svg


def test_nothing_to_draw_is_none(run_dir: Path) -> None:
    for cell in read_run(run_dir).cells:
        (cell.folder / "curves.json").unlink()
        (cell.folder / "result.json").unlink()
    run: Run = read_run(run_dir)
    table = build_table(run)
    assert draw_curves(run, "cls", "loss") is None
    assert draw_transfer(run, table, MAP) is None and draw_intervals(run, table, MAP) is None


def test_one_seed_draws(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, seeds=(0,)))
    assert draw_transfer(run, build_table(run), MAP) and draw_curves(run, "cls", "metric")


def test_curves_of_unequal_length_are_averaged_where_they_meet(run_dir: Path) -> None:
    path = cell_dir(run_dir, "tricks", "det", 0) / "curves.json"
    path.write_text('{"train": [{"epoch": 0.1, "loss": 1.0}], "val": []}')
    assert draw_curves(read_run(run_dir), "det", "loss")


def test_styles_stay_apart_for_many_rows(tmp_path: Path) -> None:
    means = {f"row {index}": MEANS["tricks"] for index in range(14)}
    run = read_run(write_run(tmp_path, seeds=(0,), means=means))
    styles = row_styles(run.rows).values()
    assert len({(style.colour, style.marker) for style in styles}) == 14
    assert len({(style.colour, style.dashes) for style in styles}) == 14


def test_signs_of_any_script_and_of_mathtext_are_names(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, seeds=(0, 1), means={"$x_1 轮 & <b>": MEANS["tricks"]}))
    svg = draw_intervals(run, build_table(run), MAP)
    assert svg is not None and "$x_1 轮 &amp; &lt;b&gt;" in svg
