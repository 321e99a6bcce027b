"""Draw predicted label maps beside image and ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from seg.labels import IGNORED

WIDTH = 240


def draw_label_maps(
    image: Image.Image, sample: Any, metainfo: Mapping[str, Any]
) -> list[Image.Image]:
    """Return the image, the predicted and the true label map.

    Args:
        image: The image in the file.
        sample: The segmentor's sample, with both label maps in the size of the file.
        metainfo: Contains the `palette`, RGB colours in label order.
    """
    predicted = sample.pred_sem_seg.data[0].cpu().numpy()
    true = sample.gt_sem_seg.data[0].cpu().numpy()
    parts = [image, *(_paint(labels, metainfo["palette"]) for labels in (predicted, true))]
    height = round(WIDTH * image.height / image.width)
    return [part.resize((WIDTH, height), Image.Resampling.NEAREST) for part in parts]


def _paint(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """Return an image of labels `(H, W)` in colour; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    colours[IGNORED] = 0
    return Image.fromarray(colours[labels.astype(np.uint8)])
