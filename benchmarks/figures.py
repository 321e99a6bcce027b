"""The report's figures, as SVG for inlining in HTML.

Each row keeps one colour and one marker in all figures; rows without pretraining are grey, so that
the control reads as a reference and not as a contender. Colours are CSS variables with fallbacks:
the page switches them between light and dark. Text stays text, in the page's own font.
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
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.by_class import RECALLS
from benchmarks.columns import KNOWN_COLUMNS, MetricColumn
from benchmarks.results import Row, Run, metric_values, read_curves
from benchmarks.table import Table, TableRow

CONTROL, INK, MUTED, GRID, SURFACE = "#767b83", "#20242a", "#5b616a", "#dfe2e6", "#fefefe"
# Okabe and Ito's colours, which stay apart for colour-blind readers; yellow is too faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
MARKERS = (
    ("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("*", "★"),
)  # fmt: skip
VARIABLES = {
    **{colour: f"--series-{index}" for index, colour in enumerate(PALETTE)},
    CONTROL: "--control", INK: "--ink", MUTED: "--muted", GRID: "--line", SURFACE: "--surface",
}  # fmt: skip
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


@dataclass(frozen=True)
class RowStyle:
    """How one row is drawn everywhere."""

    colour: str
    marker: str
    glyph: str
    dashes: str

    @property
    def css(self) -> str:
        """The colour for use in the page's own markup."""
        return f"var({VARIABLES[self.colour]}, {self.colour})"


def row_styles(rows: Sequence[Row]) -> dict[str, RowStyle]:
    """Give each row its colour, marker and dash pattern.

    Args:
        rows: The rows in the order of the plan.

    Returns:
        A style by row name; after seven pretrained rows the colours come again, dashed.
    """
    styles, used = {}, 0
    for row in rows:
        if row.pretrain:
            cycle, index = divmod(used, len(PALETTE))
            dashes = ("-", "--", ":")[cycle % 3]
            # The markers turn with each cycle: a scatter plot has no dashes to differ by.
            marker, glyph = MARKERS[(index + cycle) % len(MARKERS)]
            styles[row.name] = RowStyle(PALETTE[index], marker, glyph, dashes)
            used += 1
        else:
            styles[row.name] = RowStyle(CONTROL, "X", "✖", "-")
    return styles


def render(draw: Callable[[Axes], None], size: tuple[float, float], name: str) -> str:
    """Draw one panel and return it as an inline SVG element; the same input gives the same text."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's font draws the text; a sign that matplotlib's own font lacks is no fault.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        stream = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    return _inline(stream.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Strip what a file needs and HTML does not; make ids unique on the page and colours themed."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r"(font: (?:\w+ )?[\d.]+px) [^;\"]+", r"\1 system-ui, sans-serif", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    # The view box alone gives the shape; the page gives the size.
    return re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)


def draw_curves(run: Run, stage: str, quantity: str) -> str | None:
    """Draw the learning curves of one stage: each seed as a thin line, their mean as a bold one.

    Args:
        run: A run folder as read.
        stage: `cls`, `det` or `seg`.
        quantity: `loss` (training) or `metric` (validation).

    Returns:
        An SVG element, or None where no completed cell has such curves.
    """
    curves = {}
    for row in run.rows:
        read = [read_curves(cell.result) for cell in run.of(row.name, stage) if cell.result]
        lines = [line for line in (getattr(curve, quantity) for curve in read) if line]
        if lines:
            curves[row.name] = lines
    if not curves:
        return None
    styles = row_styles(run.rows)
    label = {"cls": "top-1 (%)", "det": "mAP (%)", "seg": "mIoU (%)"}[stage]

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
        axes.set_ylabel("training loss" if quantity == "loss" else f"validation {label}")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=2))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.margins(x=0.02)

    return render(draw, PANEL_INCHES, f"curves-{stage}-{quantity}")


def _mean_line(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Average curves at the epochs that all of them have; the first where they share none."""
    tables = [dict(line) for line in lines]
    shared = [epoch for epoch in sorted(tables[0]) if all(epoch in table for table in tables)]
    if not shared:
        return list(lines[0])
    return [(epoch, float(np.mean([table[epoch] for table in tables]))) for epoch in shared]


def draw_precision(
    run: Run, precision: Mapping[str, Sequence[float]], name: str = "all"
) -> str | None:
    """Draw precision against recall, one line a row.

    Args:
        run: A run folder as read.
        precision: By row, percentages at `by_class.RECALLS`.
        name: Tells the figure's ids from those of others.

    Returns:
        An SVG element, or None where there is no line.
    """
    if not precision:
        return None
    styles = row_styles(run.rows)

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


def draw_transfer(run: Run, table: Table, target: MetricColumn) -> str | None:
    """Draw top-1 against a metric of a dense task: means with intervals, seeds as faint dots.

    A row that has no top-1 (trained from scratch) is a horizontal line with its interval as a band.

    Args:
        run: A run folder as read.
        table: Its table.
        target: The metric on the vertical axis.

    Returns:
        An SVG element, or None where no row has both numbers.
    """
    points = [
        row
        for row in table.rows
        if row.cells["top1"].aggregate and row.cells[target.name].aggregate
    ]
    if not points:
        return None
    styles = row_styles(run.rows)

    def draw(axes: Axes) -> None:
        for row in table.rows:
            if row.cells["top1"].status == "absent":
                _draw_level(axes, row, target, styles[row.row.name])
        for row in points:
            _draw_point(axes, run, row, target, styles[row.row.name])
        axes.set_xlabel("top-1 (%)")
        axes.set_ylabel(f"{target.label} (%)")
        axes.grid()
        axes.margins(0.12)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=5))

    return render(draw, PANEL_INCHES, f"transfer-{target.name}")


def _draw_level(axes: Axes, row: TableRow, target: MetricColumn, style: RowStyle) -> None:
    """Draw a row without top-1 as a line across the panel."""
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


def _draw_point(axes: Axes, run: Run, row: TableRow, target: MetricColumn, style: RowStyle) -> None:
    """Draw one row: its seeds faintly, then its mean with both intervals."""
    across, up = row.cells["top1"].aggregate, row.cells[target.name].aggregate
    if across is None or up is None:
        return
    name = row.row.name
    first = metric_values(run.of(name, "cls"), "top1")
    second = metric_values(run.of(name, target.stage), target.name)
    shared = [seed for seed in first if seed in second]
    if len(shared) > 1:
        axes.scatter(
            [first[seed] for seed in shared], [second[seed] for seed in shared],
            s=12, color=style.colour, alpha=0.45, marker=style.marker, linewidths=0,
        )  # fmt: skip
    axes.errorbar(
        across.mean, up.mean, xerr=across.half_width, yerr=up.half_width, color=style.colour,
        marker=style.marker, markersize=7, markeredgecolor=SURFACE, markeredgewidth=0.8,
        elinewidth=1.2, capsize=0,
    )  # fmt: skip


def draw_intervals(run: Run, table: Table, column: MetricColumn) -> str | None:
    """Draw one metric of all rows: the mean with its interval, the seeds as faint dots above it.

    A row that should have the metric and has not keeps its place, with the reason in words.

    Args:
        run: A run folder as read.
        table: Its table.
        column: The metric.

    Returns:
        An SVG element, or None where no row has the metric.
    """
    rows = [row for row in table.rows if row.cells[column.name].status != "absent"]
    if not any(row.cells[column.name].aggregate for row in rows):
        return None
    styles = row_styles(run.rows)

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
                axes.scatter(
                    summary.values, [place - 0.27] * summary.n, s=13, color=style.colour,
                    alpha=0.55, marker=style.marker, linewidths=0,
                )  # fmt: skip
            axes.errorbar(
                summary.mean, place, xerr=summary.half_width, color=style.colour,
                marker=style.marker, markersize=7, markeredgecolor=SURFACE, markeredgewidth=0.8,
                elinewidth=1.4, capsize=0,
            )  # fmt: skip
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


TRANSFER_TARGETS = (KNOWN_COLUMNS["map"], KNOWN_COLUMNS["miou"])
