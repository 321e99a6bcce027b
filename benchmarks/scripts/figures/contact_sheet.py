"""Write the contact sheet: rows of images beside their names."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.scripts.figures.drawing import GRID, INK, MUTED, STYLE
from benchmarks.scripts.figures.sheet import SheetRow

# In pixels, at this resolution.
TILE, GAP, MARGIN, LABELS, COLUMN, LINE, HEADING, DOTS_PER_INCH = 82, 6, 14, 208, 120, 13, 29, 100
NAME_POINTS, TEXT_POINTS = 9.5, 7.0
CHARACTERS, CAPTION_CHARACTERS = 36, 21
# A palette of this size reduces the file to a third. Without k-means it would miss rare colours of some tricks;
# k-means ends when less than this fraction of the pixels changes.
COLOURS, STILL_MOVING = 256, 0.02


def write_sheet(groups: Mapping[str, Sequence[SheetRow]], path: Path) -> None:
    """Write the page.

    Args:
        groups: Rows by their heading; an empty heading is not drawn.
        path: The PNG to write.
    """
    rows = [row for group in groups.values() for row in group]
    headings = [heading for heading, group in groups.items() if heading and group]
    width = 2 * MARGIN + LABELS + max(len(row.tiles) for row in rows) * (COLUMN + GAP) - GAP
    height = 2 * MARGIN + len(headings) * HEADING + sum(map(_height, rows)) - GAP
    with matplotlib.rc_context(STYLE):
        figure = Figure((width / DOTS_PER_INCH, height / DOTS_PER_INCH), DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        top = height - MARGIN
        for heading, group in groups.items():
            if heading in headings:
                _draw_heading(figure, heading, top)
                top -= HEADING
            for row in group:
                _draw_row(figure, row, top)
                top -= _height(row)
        canvas.draw()
    page = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    moving = round(STILL_MOVING * width * height)
    page.quantize(COLOURS, kmeans=moving).save(path, optimize=True)


def _height(row: SheetRow) -> int:
    return TILE + GAP + LINE * max(map(len, row.captions), default=0)


def _draw_heading(figure: Figure, text: str, top: int) -> None:
    width, height = figure.get_size_inches() * DOTS_PER_INCH
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    axes.plot((MARGIN, width - MARGIN), (top, top), color=GRID, linewidth=0.8)
    _write(figure, MARGIN, top - 6, text, MUTED, NAME_POINTS, "bold")


def _draw_row(figure: Figure, row: SheetRow, top: int) -> None:
    """Draw a name with its details, and the images with their captions beside it."""
    _write(figure, MARGIN, top, row.name, INK, NAME_POINTS, "bold")
    _write(figure, MARGIN, top - 20, textwrap.fill(row.details, CHARACTERS), MUTED, TEXT_POINTS)
    for column, tile in enumerate(row.tiles):
        left = MARGIN + LABELS + column * (COLUMN + GAP)
        picture = Image.fromarray(np.ascontiguousarray(tile.permute(1, 2, 0).numpy()))
        picture = picture.resize((TILE, TILE), Image.Resampling.LANCZOS)
        figure.figimage(np.asarray(picture), left, top - TILE)
        lines = row.captions[column] if row.captions else []
        text = "\n".join(_shortened(line) for line in lines)
        _write(figure, left, top - TILE - 2, text, INK, TEXT_POINTS)


def _write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    colour: str,
    points: float,
    weight: str = "normal",
) -> None:
    """Write text whose top left corner is at a pixel, counted from the bottom left."""
    width, height = figure.get_size_inches() * DOTS_PER_INCH
    figure.text(x / width, y / height, text, color=colour, fontsize=points, weight=weight, va="top")


def _shortened(line: str) -> str:
    return (
        line if len(line) <= CAPTION_CHARACTERS else f"{line[: CAPTION_CHARACTERS - 1].rstrip()}…"
    )
