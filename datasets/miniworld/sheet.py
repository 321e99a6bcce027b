"""Draw a contact sheet of a miniworld, for visual inspection."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from datasets.miniworld.compose import Scene, object_boxes
from datasets.miniworld.files import Job, draw
from datasets.miniworld.spec import MiniworldSpec

_TILE_PX = 288


def label_palette(classes: int) -> NDArray[np.uint8]:
    """Return uint8 `(classes + 1, 3)` colours; label 0 is black."""
    colours = [(0.0, 0.0, 0.0)]
    # Steps of the golden ratio give neighbouring labels very different hues.
    for label in range(classes):
        hue = (label * 0.618034) % 1.0
        colours.append(colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (label % 2), 0.95 - 0.3 * (label % 3)))
    return (np.array(colours) * 255).astype(np.uint8)


def contact_sheet(spec: MiniworldSpec, columns: int = 5) -> Image.Image:
    """Draw samples of all three sets.

    Args:
        spec: The world to sample.
        columns: Tiles per row in the detection and segmentation parts.

    Returns:
        A picture: classification crops (a column is a class), scenes with their boxes, then scenes
        above their label maps.
    """
    shown = min(spec.cls_classes, 10)
    side = _TILE_PX * columns // shown
    rows = []
    for start in range(0, 4 * spec.cls_classes, spec.cls_classes):
        crops = [draw(spec, Job("cls/train", start + column)) for column in range(shown)]
        rows.append(_row([_tile(crop.image, side) for crop in crops]))
    for start in range(0, 2 * columns, columns):
        scenes = [draw(spec, Job("VOC2007/trainval", start + column)) for column in range(columns)]
        rows.append(_row([_with_boxes(scene, spec.det_names()) for scene in scenes]))
    scenes = [draw(spec, Job("ade/training", column)) for column in range(columns)]
    rows.append(_row([_tile(scene.image, _TILE_PX) for scene in scenes]))
    palette = label_palette(len(spec.seg_names()))
    maps = [palette[scene.label_map(spec.seg_stuff_classes)] for scene in scenes]
    rows.append(_row([_tile(labels, _TILE_PX) for labels in maps]))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _tile(pixels: NDArray[np.uint8], side_px: int) -> Image.Image:
    """Return an image fitted into a square."""
    picture = Image.fromarray(pixels)
    scale = side_px / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    tile = Image.new("RGB", (side_px, side_px))
    tile.paste(picture.resize(size, Image.Resampling.NEAREST))
    return tile


def _row(tiles: Sequence[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height))
    left = 0
    for tile in tiles:
        row.paste(tile, (left, 0))
        left += tile.width
    return row


def _with_boxes(scene: Scene, names: Sequence[str]) -> Image.Image:
    """Draw the boxes: yellow, or red if `difficult`; a `t` marks truncated objects."""
    tile = _tile(scene.image, _TILE_PX)
    scale = _TILE_PX / max(scene.canvas.size)
    pen = ImageDraw.Draw(tile)
    for found in object_boxes(scene):
        left, top, right, bottom = found.box
        corners = ((left - 1) * scale, (top - 1) * scale, right * scale - 1, bottom * scale - 1)
        colour = "red" if found.difficult else "yellow"
        pen.rectangle(corners, outline=colour)
        text = names[found.class_index] + (" t" if found.truncated else "")
        pen.text((corners[0] + 2, corners[1]), text, fill=colour)
    return tile
