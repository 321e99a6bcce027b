"""Pictures of predicted label maps beside image and ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from datasets.images import read_rgb
from engine.pictures import side_by_side
from seg.labels import IGNORED

WIDTH = 240


def write_examples(
    model: Any, dataset: Any, palette: Sequence[Sequence[int]], folder: Path, count: int
) -> list[str]:
    """Segment images spread evenly over the test set; each picture is image, prediction, truth.

    Args:
        model: The trained segmentor.
        dataset: The wrapped test set.
        palette: RGB colours in label order.
        folder: Where the PNG files go.
        count: How many.

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
        image = read_rgb(sample.img_path)
        predicted = sample.pred_sem_seg.data[0].cpu().numpy()
        true = sample.gt_sem_seg.data[0].cpu().numpy()
        parts = [image, *(_paint(labels, palette) for labels in (predicted, true))]
        height = round(WIDTH * image.height / image.width)
        resized = [part.resize((WIDTH, height), Image.Resampling.NEAREST) for part in parts]
        names.append(f"{number}.png")
        side_by_side(resized).save(folder / names[-1])
    return names


def _paint(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """Colours for labels `(H, W)`; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    colours[IGNORED] = 0
    return Image.fromarray(colours[labels.astype(np.uint8)])
