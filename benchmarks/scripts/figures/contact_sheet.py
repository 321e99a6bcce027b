"""The sheet's page: rows of images with their names, put together pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.scripts.figures.drawing import GRID, INK, MUTED, SURFACE
from benchmarks.scripts.figures.sheet import Row

# All in pixels.
TILE, GAP, MARGIN, LABELS = 82, 6, 14, 208
WIDEST_CAPTION = 132
NAME_SIZE, TEXT_SIZE, LINE, HEADING = 13, 10, 13, 29
# So few colours make a third of the file. Without k-means the rare ones, which tricks make, would fall out; it ends
# when less than this share of the pixels still moves.
COLOURS, STILL_MOVING = 256, 0.02


def write_sheet(groups: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Write the page.

    Args:
        groups: Rows by the heading that they stand under; an empty one has no heading.
        path: The PNG to write.
    """
    rows = [row for group in groups.values() for row in group]
    headings = [heading for heading, group in groups.items() if heading and group]
    columns = max(len(row.tiles) for row in rows)
    column = max(TILE, min(WIDEST_CAPTION, _widest_caption(rows) + GAP))
    width = 2 * MARGIN + LABELS + columns * (column + GAP) - GAP
    height = 2 * MARGIN + len(headings) * HEADING + sum(map(_height, rows)) - GAP
    page = _Page(width, height, column)
    for heading, group in groups.items():
        if heading in headings:
            page.heading(heading)
        for row in group:
            page.row(row)
    moving = round(STILL_MOVING * width * height)
    page.image.quantize(COLOURS, kmeans=moving).save(path, optimize=True)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _widest_caption(rows: Sequence[Row]) -> int:
    lines = [line for row in rows for caption in row.captions for line in caption]
    font = _font("DejaVuSans.ttf", TEXT_SIZE)
    return math.ceil(max(map(font.getlength, lines), default=0))


def _height(row: Row) -> int:
    return TILE + GAP + LINE * max(map(len, row.captions), default=0)


class _Page:
    """A white page that fills from the top."""

    def __init__(self, width: int, height: int, column: int) -> None:
        self.image = Image.new("RGB", (width, height), SURFACE)
        self.draw = ImageDraw.Draw(self.image)
        self.column = column
        self.top = MARGIN
        self.bold = _font("DejaVuSans-Bold.ttf", NAME_SIZE)
        self.plain = _font("DejaVuSans.ttf", TEXT_SIZE)

    def heading(self, text: str) -> None:
        """A line across the page with words under it."""
        self.draw.line((MARGIN, self.top, self.image.width - MARGIN, self.top), fill=GRID, width=1)
        self.draw.text((MARGIN, self.top + 6), text, fill=MUTED, font=self.bold)
        self.top += HEADING

    def row(self, row: Row) -> None:
        """A name with its details, and the images beside it."""
        self.draw.text((MARGIN, self.top), row.name, fill=INK, font=self.bold)
        for number, line in enumerate(self._wrapped(row.details, LABELS - 12)):
            place = (MARGIN, self.top + NAME_SIZE + 6 + number * LINE)
            self.draw.text(place, line, fill=MUTED, font=self.plain)
        for column, tile in enumerate(row.tiles):
            left = MARGIN + LABELS + column * (self.column + GAP)
            picture = Image.fromarray(np.ascontiguousarray(tile.permute(1, 2, 0).numpy()))
            picture = picture.resize((TILE, TILE), Image.Resampling.LANCZOS)
            self.image.paste(picture, (left, self.top))
            for number, line in enumerate(row.captions[column] if row.captions else []):
                place = (left, self.top + TILE + 1 + number * LINE)
                self.draw.text(place, self._fitted(line, self.column), fill=INK, font=self.plain)
        self.top += _height(row)

    def _wrapped(self, text: str, width: int) -> list[str]:
        """Words in lines of at most so many pixels."""
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if self.plain.getlength(longer) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def _fitted(self, text: str, width: int) -> str:
        """The beginning that fits, with an ellipsis where something is left out."""
        if self.plain.getlength(text) <= width:
            return text
        while text and self.plain.getlength(text + "…") > width:
            text = text[:-1]
        return text.rstrip() + "…"
