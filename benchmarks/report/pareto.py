"""The Pareto front of score against cost, and its figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from benchmarks.report.build import Report
from benchmarks.report.figures import PANEL_INCHES, render
from benchmarks.report.style import INK, MUTED, SURFACE
from benchmarks.report.table import build_cell
from benchmarks.results.columns import MetricColumn
from benchmarks.results.read import RunFolder
from benchmarks.results.statistics import Aggregate

DOMINATED_ALPHA = 0.4
LABEL_SIZE = 8
RADIUS = 4.0  # of a point, in pixels of the figure
Place = tuple[int, int, Literal["left", "center", "right"], Literal["bottom", "center", "top"]]
# Offsets of a label from its point, in points, with its alignment; the first that is free is taken. Above comes first:
# the front arrives from below and leaves to the right. adjustText 1.4 knows no order of importance and leaves most
# labels on intervals or on the front.
_PLACES: tuple[Place, ...] = (
    (5, 5, "left", "bottom"),
    (-5, 5, "right", "bottom"),
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (5, -5, "left", "top"),
    (-5, -5, "right", "top"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
)


@dataclass(frozen=True)
class Point:
    """Cost and score of a row over its seeds."""

    row: str
    cost: Aggregate
    score: Aggregate


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> tuple[int, ...]:
    """Find the points that no other point dominates.

    One point dominates another if it costs no more and scores no less, and differs. Equal points do not dominate each
    other; a point without a number neither dominates nor belongs to the front.

    Args:
        points: `(cost, score)`; a cost is better low, a score high.

    Returns:
        The positions of the front's points, the cheapest first, equal ones in their order.
    """
    known = [
        (cost, score, position)
        for position, (cost, score) in enumerate(points)
        if cost is not None and score is not None and math.isfinite(cost) and math.isfinite(score)
    ]
    front: list[tuple[float, float, int]] = []
    # By rising cost, the best score of each cost first: a point then has to beat the last of the front, or equal it.
    for point in sorted(known, key=lambda point: (point[0], -point[1], point[2])):
        if not front or point[1] > front[-1][1] or point[:2] == front[-1][:2]:
            front.append(point)
    return tuple(position for _, _, position in front)


def read_points(run: RunFolder, score: MetricColumn, cost: MetricColumn) -> list[Point]:
    """Return a point for each row that has both numbers, in the order of the plan.

    Args:
        run: A run folder as read.
        score: A column with a better direction.
        cost: A column in which lower is better.
    """
    points = []
    for row in run.rows:
        spent = build_cell(run, row, cost).aggregate
        won = build_cell(run, row, score).aggregate
        if spent is not None and won is not None:
            points.append(Point(row.name, spent, won))
    return points


def draw_pareto(report: Report, score: MetricColumn, cost: MetricColumn) -> Markup | None:
    """Draw the rows' mean scores against a mean cost, with intervals; the front is a line of steps.

    A dominated row is lighter. A cost that is counted and not measured has no interval.

    Args:
        report: The report of a run.
        score: The metric on the vertical axis.
        cost: The column on the other axis; lower is better.

    Returns:
        An SVG element, or None if no row has both numbers.
    """
    points = read_points(report.run, score, cost)
    if not points:
        return None
    front = pareto_front([(point.cost.mean, score.merit(point.score.mean)) for point in points])
    styles = report.styles

    def draw(axes: Axes) -> None:
        for position, point in enumerate(points):
            axes.errorbar(
                point.cost.mean, point.score.mean, yerr=point.score.half_width,
                xerr=point.cost.half_width if cost.varies else None,
                color=styles[point.row].colour, alpha=1 if position in front else DOMINATED_ALPHA,
                marker=styles[point.row].marker, markersize=7, markeredgecolor=SURFACE,
                markeredgewidth=0.8, elinewidth=1.2, capsize=0,
            )  # fmt: skip
        axes.set_xlabel(f"{cost.label} ({cost.unit})")
        axes.set_ylabel(f"{score.label} ({score.unit})")
        axes.grid()
        axes.margins(0.16)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=5))
        steps = _draw_front(axes, [points[position] for position in front])
        figure = axes.figure
        assert isinstance(figure, Figure)
        figure.draw_without_rendering()  # lengths are known once the axes have their places
        obstacles = _segments(axes, steps)
        for point in points:
            obstacles += _cross(axes, point, cost.varies)
        _label(axes, points, front, obstacles)

    return render(draw, PANEL_INCHES, f"pareto-{score.name}-{cost.name}")


def _draw_front(axes: Axes, front: Sequence[Point]) -> list[tuple[float, float]]:
    """Draw the best score up to each cost, as far as the panel's right edge; return the line's corners."""
    right = axes.get_xlim()[1]
    corners = [(front[0].cost.mean, front[0].score.mean)]
    for point in front[1:]:
        corners += [(point.cost.mean, corners[-1][1]), (point.cost.mean, point.score.mean)]
    corners.append((right, corners[-1][1]))
    axes.plot(
        *zip(*corners, strict=True), color=MUTED, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1
    )
    axes.set_xlim(right=right)
    return corners


def _label(
    axes: Axes, points: Sequence[Point], front: Sequence[int], obstacles: list[Bbox]
) -> None:
    """Write names beside points: all names of the front first, then others if there is free space.

    Args:
        axes: The laid-out panel.
        points: The rows.
        front: Positions of the front's points.
        obstacles: Boxes that names must not cover, in pixels; the boxes of the names are added.
    """
    for position in (*front, *(p for p in range(len(points)) if p not in front)):
        tried = []
        for place in _PLACES:
            text = _write(axes, points[position], place, position in front)
            tried.append((_covered(text.get_window_extent(), obstacles, axes.bbox), text))
        covered, text = min(tried, key=lambda entry: entry[0])
        keep = covered == 0 or position in front
        for _, other in tried:
            if other is not text or not keep:
                other.remove()
        if keep:
            obstacles.append(text.get_window_extent())


def _write(axes: Axes, point: Point, place: Place, on_front: bool) -> Annotation:
    right, up, across, along = place
    return axes.annotate(
        point.row, (point.cost.mean, point.score.mean), xytext=(right, up),
        textcoords="offset points", ha=across, va=along, fontsize=LABEL_SIZE,
        color=INK if on_front else MUTED, in_layout=False,
    )  # fmt: skip


def _cross(axes: Axes, point: Point, measured: bool) -> list[Bbox]:
    """Return the boxes of a point and its intervals, in pixels."""
    x, y = point.cost.mean, point.score.mean
    across = (point.cost.half_width or 0.0) if measured else 0.0
    up = point.score.half_width or 0.0
    (left, low), (right, high) = axes.transData.transform(
        [(x - across, y - up), (x + across, y + up)]
    )
    (centre,) = axes.transData.transform([(x, y)])
    return [
        Bbox.from_extents(*(centre - RADIUS), *(centre + RADIUS)),
        Bbox.from_extents(centre[0] - 1, low, centre[0] + 1, high),
        Bbox.from_extents(left, centre[1] - 1, right, centre[1] + 1),
    ]


def _segments(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[Bbox]:
    """Return the boxes of a line's straight segments, in pixels."""
    places = axes.transData.transform(corners)
    return [
        Bbox.from_extents(*(np.minimum(a, b) - 1), *(np.maximum(a, b) + 1))
        for a, b in pairwise(places)
    ]


def _covered(box: Bbox, taken: Sequence[Bbox], panel: Bbox) -> float:
    """Return the area of a label that overlaps obstacles or is outside the panel, in square pixels."""
    boxes = np.array([panel.extents, *(other.extents for other in taken)])
    # At once for all boxes: one by one, labels of a hundred rows take half a minute.
    corners = np.sort(boxes.reshape(-1, 2, 2), axis=1)
    low, high = np.maximum(corners[:, 0], box.min), np.minimum(corners[:, 1], box.max)
    areas = np.prod(np.clip(high - low, 0, None), axis=1)
    return float(box.width * box.height - areas[0] + areas[1:].sum())
