"""The report's figures, as SVG for inlining in HTML.

Colours are CSS variables with fallbacks, so the page can switch between light and dark. Text stays text, in the
page's font.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.report.build import Report
from benchmarks.report.style import GRID, INK, MUTED, SURFACE, VARIABLES, RowStyle
from benchmarks.report.table import TableRow
from benchmarks.results.columns import MetricColumn, main_column
from benchmarks.results.read import RunFolder, metric_values
from contract.result import RECALLS
from contract.tasks import SOURCE

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.solid_capstyle": "round",
}
PANEL_INCHES = (4.1, 2.9)
_POINTS_PER_INCH = 72


@dataclass(frozen=True)
class Panel:
    """A figure with a bold title and a caption.

    Attributes:
        title: In plain text.
        caption: In plain text; may be empty.
        svg: An SVG element, which is inserted into the page as it is.
    """

    title: str
    caption: str
    svg: Markup


def render(
    draw: Callable[[Axes], None],
    size: tuple[float, float],
    name: str,
    annotate: Callable[[Axes], None] | None = None,
) -> Markup:
    """Draw one panel and return it as an inline SVG element; the same input gives the same text.

    Args:
        draw: Draws into the axes.
        size: Width and height in inches.
        name: Makes the figure's ids unique.
        annotate: Draws what depends on the places of the axes, and needs no space outside of them.
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The text is drawn in the page's font, so glyphs may be missing in matplotlib's font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        _lay_out(figure)
        if annotate is not None:
            annotate(axes)
        stream = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.set_facecolor("none")
        axes.set_facecolor("none")
        # `savefig` would draw everything twice.
        canvas.print_svg(stream, metadata=metadata)
    return Markup(_inline(stream.getvalue(), name))


def _lay_out(figure: Figure) -> None:
    """Find the places of the axes, once."""
    engine = figure.get_layout_engine()
    assert engine is not None
    # In points, which the SVG renderer draws in.
    figure.set_dpi(_POINTS_PER_INCH)
    engine.execute(figure)
    figure.set_layout_engine("none")


def _inline(svg: str, name: str) -> str:
    """Prepare an SVG for HTML: remove the file header, make ids unique on the page, and use themed colours."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r"(font: (?:\w+ )?[\d.]+px) [^;\"]+", r"\1 system-ui, sans-serif", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    # The view box defines the aspect ratio; the page defines the size.
    return re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)


def draw_curves(report: Report, task: str, quantity: str) -> Markup | None:
    """Draw the learning curves of one task: each seed as a thin line, their mean as a bold one.

    Args:
        report: The report of a run.
        task: A task that trains.
        quantity: `loss` (training) or `metric` (validation).

    Returns:
        An SVG element, or None if no completed run has such curves.
    """
    run, styles = report.run, report.styles
    curves = {}
    for row in run.rows:
        records = run.of(row.name, task)
        lines = [line for record in records if (line := getattr(record.curves, quantity))]
        if lines:
            curves[row.name] = lines
    if not curves:
        return None
    main = main_column(task)

    def draw(axes: Axes) -> None:
        for name, lines in curves.items():
            style = styles[name]
            for line in lines if len(lines) > 1 else ():
                axes.plot(*zip(*line, strict=True), color=style.colour, linewidth=0.6, alpha=0.4)
            mean = _mean_line(lines)
            marker = style.marker if len(mean) <= 12 and quantity == "metric" else ""
            axes.plot(
                *zip(*mean, strict=True), color=style.colour, linewidth=1.7, linestyle=style.dashes,
                marker=marker, markersize=4.5, markeredgecolor=SURFACE, markeredgewidth=0.6,
            )  # fmt: skip
        axes.set_xlabel("epoch")
        axes.set_ylabel(
            "training loss" if quantity == "loss" else f"validation {main.label} ({main.unit})"
        )
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=2))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.margins(x=0.02)

    return render(draw, PANEL_INCHES, f"curves-{task}-{quantity}")


def _mean_line(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Average curves at their common epochs; return the first curve if there are none."""
    tables = [dict(line) for line in lines]
    shared = [epoch for epoch in sorted(tables[0]) if all(epoch in table for table in tables)]
    if not shared:
        return list(lines[0])
    return [(epoch, float(np.mean([table[epoch] for table in tables]))) for epoch in shared]


def draw_precision(
    report: Report, precision: Mapping[str, Sequence[float]], name: str
) -> Markup | None:
    """Draw precision against recall, one line for each row.

    Args:
        report: The report of a run.
        precision: Percentages at `contract.result.RECALLS`, by row.
        name: Makes the figure's ids unique.

    Returns:
        An SVG element, or None if there is no line.
    """
    if not precision:
        return None
    styles = report.styles

    def draw(axes: Axes) -> None:
        for row, line in precision.items():
            style = styles[row]
            axes.plot(
                [100 * recall for recall in RECALLS], line, color=style.colour,
                linewidth=1.5, linestyle=style.dashes,
            )  # fmt: skip
        axes.set_xlabel("recall (%)")
        axes.set_ylabel("precision (%)")
        axes.grid()
        axes.set(xlim=(0, 100), ylim=(0, 102))

    return render(draw, PANEL_INCHES, f"precision-{name}")


def draw_transfer(report: Report, target: MetricColumn) -> Markup | None:
    """Draw the source task's main metric against another task's: means with intervals, seeds as faint dots.

    A row without pretraining is a horizontal line with its interval as a band.

    Args:
        report: The report of a run.
        target: The metric on the vertical axis.

    Returns:
        An SVG element, or None if no row has both numbers.
    """
    source = main_column(SOURCE)
    rows = report.table.rows
    points = [
        row for row in rows if row.cells[source.name].aggregate and row.cells[target.name].aggregate
    ]
    if not points:
        return None
    styles = report.styles

    def draw(axes: Axes) -> None:
        for row in rows:
            if row.cells[source.name].status == "absent":
                _draw_level(axes, row, target, styles[row.row.name])
        for row in points:
            _draw_point(axes, report.run, row, (source, target), styles[row.row.name])
        axes.set_xlabel(f"{source.label} ({source.unit})")
        axes.set_ylabel(f"{target.label} ({target.unit})")
        axes.grid()
        axes.margins(0.12)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=5))

    return render(draw, PANEL_INCHES, f"transfer-{target.name}")


def _draw_level(axes: Axes, row: TableRow, target: MetricColumn, style: RowStyle) -> None:
    """Draw a row without the source task's metric as a line across the panel."""
    level = row.cells[target.name].aggregate
    if level is None:
        return
    axes.axhline(level.mean, color=style.colour, linewidth=1.3, linestyle=(0, (5, 2)))
    if level.half_width:
        low, high = level.mean - level.half_width, level.mean + level.half_width
        axes.axhspan(low, high, color=style.colour, alpha=0.15, linewidth=0)
    axes.annotate(
        row.row.name, (0.99, level.mean), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha="right", va="bottom", color=MUTED, fontsize=8,
    )  # fmt: skip


def _draw_point(
    axes: Axes,
    run: RunFolder,
    row: TableRow,
    columns: tuple[MetricColumn, MetricColumn],
    style: RowStyle,
) -> None:
    """Draw one row: its seeds faintly, then its mean with both intervals."""
    across, up = (row.cells[column.name].aggregate for column in columns)
    if across is None or up is None:
        return
    first, second = (
        metric_values(run.of(row.row.name, column.task), column.name) for column in columns
    )
    shared = [seed for seed in first if seed in second]
    if len(shared) > 1:
        # Cheaper than `scatter`, which counts with a hundred rows.
        axes.plot(
            [first[seed] for seed in shared], [second[seed] for seed in shared], linestyle="none",
            markersize=3.5, color=style.colour, alpha=0.45, marker=style.marker, markeredgewidth=0,
        )  # fmt: skip
    draw_mean(axes, (across.mean, up.mean), (across.half_width, up.half_width), style)


def draw_mean(
    axes: Axes,
    centre: tuple[float, float],
    half_widths: tuple[float | None, float | None],
    style: RowStyle,
    alpha: float = 1.0,
) -> None:
    """Draw a mean with its intervals; in reports of many rows `errorbar` takes most of the time.

    Args:
        axes: The panel.
        centre: The mean on both axes.
        half_widths: Half the widths of the intervals; None for no interval.
        style: Colour and marker.
        alpha: Opacity.
    """
    x, y = centre
    across, up = half_widths
    if across:
        axes.plot([x - across, x + across], [y, y], color=style.colour, linewidth=1.3, alpha=alpha,
                  solid_capstyle="butt")  # fmt: skip
    if up:
        axes.plot([x, x], [y - up, y + up], color=style.colour, linewidth=1.3, alpha=alpha,
                  solid_capstyle="butt")  # fmt: skip
    axes.plot(
        [x], [y], color=style.colour, alpha=alpha, marker=style.marker, markersize=7,
        markeredgecolor=SURFACE, markeredgewidth=0.8,
    )  # fmt: skip


def draw_intervals(report: Report, column: MetricColumn) -> Markup | None:
    """Draw one column for all rows: the mean with its interval, and the seeds as faint dots above it.

    A row whose number is missing keeps its place, with the reason as text.

    Args:
        report: The report of a run.
        column: A column of its table.

    Returns:
        An SVG element, or None if no row has a number.
    """
    rows = [row for row in report.table.rows if row.cells[column.name].status != "absent"]
    if not any(row.cells[column.name].aggregate for row in rows):
        return None
    styles = report.styles

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            style, summary = styles[row.row.name], row.cells[column.name].aggregate
            if summary is None:
                axes.annotate(
                    row.cells[column.name].mean, (0.02, place), va="center", color=MUTED,
                    xycoords=("axes fraction", "data"), fontstyle="italic",
                )  # fmt: skip
                continue
            if summary.n > 1:
                axes.plot(
                    summary.values, [place - 0.27] * summary.n, linestyle="none", markersize=3.6,
                    color=style.colour, alpha=0.55, marker=style.marker, markeredgewidth=0,
                )  # fmt: skip
            draw_mean(axes, (summary.mean, place), (summary.half_width, None), style)
        axes.set_yticks(range(len(rows)), [row.row.name for row in rows])
        axes.set_ylim(len(rows) - 0.45, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{column.label} ({column.unit})")
        axes.grid(axis="x")
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))

    height = 0.75 + 0.33 * len(rows)
    return render(draw, (PANEL_INCHES[0], height), f"intervals-{column.name}")
