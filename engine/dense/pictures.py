"""Example pictures of a dense task: predictions beside the ground truth, for images spread over the test set."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from datasets.images import read_rgb

GAP = 6

# Takes the image, the model's prediction with its ground truth, and the dataset's metainfo; returns pictures of equal
# height.
Draw = Callable[[Image.Image, Any, Mapping[str, Any]], Sequence[Image.Image]]


def write_examples(model: Any, dataset: Any, draw: Draw, folder: Path, count: int) -> list[str]:
    """Predict on images spread evenly over the test set and draw each beside its ground truth.

    Args:
        model: The trained network.
        dataset: The wrapped test set.
        draw: Returns the parts of a picture, which are placed side by side.
        folder: Where the PNG files go.
        count: Number of pictures.

    Returns:
        The file names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    names = []
    count = min(count, len(dataset))
    for number in range(count):
        with torch.no_grad():
            batch = pseudo_collate([dataset[number * len(dataset) // count]])
            sample = model.val_step(batch)[0]
        parts = draw(read_rgb(sample.img_path), sample, dataset.metainfo)
        names.append(f"{number}.png")
        side_by_side(parts).save(folder / names[-1])
    return names


def colour(label: int) -> tuple[int, int, int]:
    """Return a distinct, vivid colour for a label, in steps of the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.381966 % 1, 0.8, 0.95)
    return int(255 * red), int(255 * green), int(255 * blue)


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Return images of equal height side by side, with white gaps."""
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    sheet = Image.new("RGB", (width, images[0].height), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + GAP
    return sheet
