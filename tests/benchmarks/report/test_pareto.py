"""The Pareto front, and its picture."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.transforms import Bbox
from support.fake_run import MEANS, fail_run, write_run

from benchmarks.report.build import build_report
from benchmarks.report.pareto import _covered, draw_pareto, pareto_front, read_points
from benchmarks.results.columns import known_columns
from benchmarks.results.read import read_run

MAP, LATENCY, COUNT = (
    known_columns()[name] for name in ("map", "det_latency", "det_multiply_adds")
)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], ()),
        ([(3.0, 70.0)], (0,)),
        ([(3.0, 70.0), (1.0, 60.0)], (1, 0)),
        ([(1.0, 70.0), (3.0, 60.0)], (0,)),
        # Equal points stay together; of equal costs the better, of equal scores the cheaper.
        ([(1.0, 70.0), (2.0, 60.0), (1.0, 70.0)], (0, 2)),
        ([(1.0, 70.0), (1.0, 71.0)], (1,)),
        ([(1.0, 70.0), (2.0, 70.0)], (0,)),
        ([(1.0, 70.0), (2.0, 71.0), (2.0, 71.0), (3.0, 71.0)], (0, 1, 2)),
        # A point without a number is neither on the front nor keeps others off it.
        ([(None, 99.0), (0.1, None), (2.0, 70.0), (math.nan, 80.0), (1.0, math.nan)], (2,)),
        ([(None, None)], ()),
    ],
)
def test_the_front(points: list[tuple[float | None, float | None]], front: tuple[int, ...]) -> None:
    assert pareto_front(points) == front


@pytest.mark.parametrize("seed", range(20))
def test_undominated_points_are_the_front(seed: int) -> None:
    draw = random.Random(seed)
    points = [(draw.randrange(6), draw.randrange(6)) for _ in range(12)]
    by_definition = {
        position
        for position, (cost, score) in enumerate(points)
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
    }
    front = pareto_front(points)
    assert set(front) == by_definition
    assert [points[position][0] for position in front] == sorted(points[p][0] for p in front)


def test_picture_highlights_front(tmp_path: Path) -> None:
    report = build_report(write_run(tmp_path))
    svg = draw_pareto(report, MAP, LATENCY)
    assert svg is not None
    ElementTree.fromstring(svg)
    assert ">scratch</text>" in svg and ">tricks</text>" in svg
    assert "--series-0" in svg and "--series-1" in svg and "--control" in svg
    # standard: slower than tricks, and worse.
    faded = re.findall(r"<g[^>]*>(?:(?!</g>).)*opacity: 0\.4.*?</g>", svg, re.DOTALL)
    assert faded and all("--series-1" not in part for part in faded)
    assert draw_pareto(report, MAP, LATENCY) == svg


def test_rows_without_both_numbers_are_skipped(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path)
    for seed in (0, 1, 2):
        fail_run(run_dir, "tricks", "det", seed, "boom")
    points = read_points(read_run(run_dir), MAP, COUNT)
    assert [(p.row, p.cost.mean) for p in points] == [("scratch", 2.0), ("standard", 2.0)]
    for row in ("scratch", "standard"):
        for seed in (0, 1, 2):
            fail_run(run_dir, row, "det", seed, "boom")
    assert draw_pareto(build_report(run_dir), MAP, COUNT) is None


def test_draws_one_row_and_ties(tmp_path: Path) -> None:
    one = build_report(write_run(tmp_path / "one", seeds=(0,), means={"a": MEANS["tricks"]}))
    assert ">a</text>" in (draw_pareto(one, MAP, COUNT) or "")
    means = {f"row {index}": MEANS["tricks"] for index in range(14)}
    many = build_report(write_run(tmp_path / "many", seeds=(0, 1), means=means))
    assert draw_pareto(many, MAP, LATENCY)


def test_covered_area_equals_that_of_single_intersections() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        boxes = [Bbox(np.sort(draws.random((2, 2)), axis=0)) for _ in range(6)]
        label, panel, *taken = boxes
        areas = [
            shared.width * shared.height if (shared := Bbox.intersection(label, box)) else 0.0
            for box in (panel, *taken)
        ]
        expected = label.width * label.height - areas[0] + sum(areas[1:])
        assert _covered(label, taken, panel) == pytest.approx(expected, abs=1e-12)
    assert _covered(label, [], Bbox.from_extents(0, 0, 1, 1)) == pytest.approx(0, abs=1e-12)
