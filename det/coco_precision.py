"""COCO's average precision by pycocotools, for datasets in any layout.

Source: Lin et al., 1405.0312; https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from det.average_precision import Detections, Floats, Truths


@dataclass(frozen=True)
class CocoPrecision:
    """Average precisions from 0 to 1; NaN if no class has an object.

    Attributes:
        ap: Mean over the IoU thresholds 0.5, 0.55 … 0.95, and over classes.
        ap_50: At IoU 0.5.
        ap_75: At IoU 0.75.
        by_class: `ap` of each class, shape (num_classes,), NaN for a class without objects.
    """

    ap: float
    ap_50: float
    ap_75: float
    by_class: Floats


def evaluate(detections: Detections, truths: Truths, num_classes: int) -> CocoPrecision:
    """Score the best 100 detections of every image.

    Boxes have the width x2 − x1. COCO has no difficult objects; they are passed as crowds, so they need not be found,
    and detections on them are ignored.
    """
    images = np.unique(np.concatenate([detections.image, truths.image]))
    with contextlib.redirect_stdout(io.StringIO()):
        truth: Any = COCO()
        truth.dataset = {
            "images": [{"id": int(image)} for image in images],
            "categories": [{"id": label} for label in range(num_classes)],
            "annotations": _annotations(truths),
        }
        truth.createIndex()
        evaluation = COCOeval(truth, _results(truth, detections), "bbox")
        # Only one area range: the others are not used and would take three times as long.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    # Thresholds × recalls × classes × areas × detections; −1 for a class without objects.
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    precision = np.where(precision < 0, np.nan, precision)
    return CocoPrecision(
        ap=_mean(precision),
        ap_50=_mean(precision[0]),
        ap_75=_mean(precision[5]),
        by_class=np.array([_mean(precision[:, :, label]) for label in range(num_classes)]),
    )


def _annotations(truths: Truths) -> list[dict[str, object]]:
    sides = truths.box[:, 2:] - truths.box[:, :2]
    return [
        {
            # In pycocotools, the id 0 means "not matched".
            "id": index + 1,
            "image_id": int(truths.image[index]),
            "category_id": int(truths.label[index]),
            "bbox": [*truths.box[index, :2].tolist(), *sides[index].tolist()],
            "area": float(sides[index].prod()),
            "iscrowd": int(truths.difficult[index]),
        }
        for index in range(len(truths.label))
    ]


def _results(truth: Any, detections: Detections) -> COCO:
    if not len(detections.score):
        nothing: Any = COCO()
        nothing.dataset = {**truth.dataset, "annotations": []}
        nothing.createIndex()
        return nothing
    sides = detections.box[:, 2:] - detections.box[:, :2]
    columns = (detections.image, detections.box[:, :2], sides, detections.score, detections.label)
    return truth.loadRes(np.column_stack(columns).astype(np.float64))


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
