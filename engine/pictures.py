"""Pieces of the example pictures that det and seg leave behind."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from PIL import Image

GAP = 6


def colour(label: int) -> tuple[int, int, int]:
    """A vivid colour of its own for each label, by steps of the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.381966 % 1, 0.8, 0.95)
    return int(255 * red), int(255 * green), int(255 * blue)


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one height in a row, with white gaps."""
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    sheet = Image.new("RGB", (width, images[0].height), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + GAP
    return sheet
