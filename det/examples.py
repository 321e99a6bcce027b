"""Draw detections beside the ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw

from engine.dense.pictures import colour

SCORE_THRESHOLD = 0.3
WIDTH = 360


def draw_detections(
    image: Image.Image, sample: Any, metainfo: Mapping[str, Any]
) -> list[Image.Image]:
    """Return pictures of the detections above `SCORE_THRESHOLD` and of the ground truth.

    Args:
        image: The image in the file.
        sample: The detector's sample; its boxes are in pixels of the file, like the ground truth, which is loaded
            after the resize.
        metainfo: Contains the names of the `classes` in label order.
    """
    classes = metainfo["classes"]
    kept = sample.pred_instances[sample.pred_instances.scores >= SCORE_THRESHOLD]
    truth = sample.gt_instances
    return [
        _draw(image, kept.bboxes.cpu(), kept.labels.tolist(), classes, kept.scores.tolist()),
        _draw(image, truth.bboxes.cpu(), truth.labels.tolist(), classes, None),
    ]


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
