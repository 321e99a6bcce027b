"""Pictures of detections beside the ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from PIL import Image, ImageDraw

from datasets.images import read_rgb
from engine.pictures import colour, side_by_side

SCORE_THRESHOLD = 0.3
WIDTH = 360


def write_examples(
    model: Any, dataset: Any, classes: Sequence[str], folder: Path, count: int
) -> list[str]:
    """Detect on images spread evenly over the test set and draw each beside its truth.

    Args:
        model: The trained detector.
        dataset: The wrapped test set.
        classes: Names in label order.
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
        kept = sample.pred_instances[sample.pred_instances.scores >= SCORE_THRESHOLD]
        truth = sample.gt_instances
        # Detections come scaled back to the file's size, and so does the truth, loaded after the resize.
        image = read_rgb(sample.img_path)
        detected = _draw(
            image, kept.bboxes.cpu(), kept.labels.tolist(), classes, kept.scores.tolist()
        )
        true = _draw(image, truth.bboxes.cpu(), truth.labels.tolist(), classes, None)
        names.append(f"{number}.png")
        side_by_side([detected, true]).save(folder / names[-1])
    return names


def _draw(
    image: Image.Image,
    boxes: torch.Tensor,
    labels: Sequence[int],
    classes: Sequence[str],
    scores: Iterable[float] | None,
) -> Image.Image:
    zoom = WIDTH / image.width
    canvas = image.resize((WIDTH, round(image.height * zoom)), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    given = scores or [None] * len(labels)
    for box, label, score in zip(boxes, labels, given, strict=True):
        corners = [float(v) * zoom for v in box]
        pen.rectangle(corners, outline=colour(label), width=2)
        text = classes[label] if score is None else f"{classes[label]} {score:.2f}"
        area = pen.textbbox((corners[0] + 2, corners[1] + 1), text)
        pen.rectangle(area, fill=colour(label))
        pen.text((corners[0] + 2, corners[1] + 1), text, fill="black")
    return canvas
