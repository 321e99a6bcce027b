"""The evaluator of the detection task: all average precisions in one pass over the detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from contract.errors import UserError, unknown
from det import average_precision, coco_precision
from det.average_precision import ClassPrecision, Detections, Floats, Truths

MODES = {"11points": "VOC07 11-point AP", "area": "area AP"}
CURVE_RECALLS = np.linspace(0, 1, 101)


@METRICS.register_module()
class DetectionMetric(BaseMetric):
    """Mean average precision by VOC's 11 points, by area, and by COCO's definition.

    Difficult objects are ignored. Classes without other objects are left out of the means. All values are fractions,
    named `det/…`: `map` (according to `eval_mode`), `voc07_map`, `voc10_map`, `coco_ap`, `coco_ap50`, `coco_ap75`.
    After an evaluation, `details` contains the values of each class.

    Args:
        eval_mode: The definition of `map`: `'11points'` (VOC 2007) or `'area'` (since VOC 2010).
    """

    default_prefix = "det"

    def __init__(self, eval_mode: str = "11points", **arguments: Any) -> None:
        if eval_mode not in MODES:
            raise unknown("eval_mode", eval_mode, MODES)
        super().__init__(**arguments)
        self.eval_mode = eval_mode
        self.details: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Collect the boxes of a batch, in pixels of the image files."""
        for sample in data_samples:
            found, truth, odd = (
                sample[key] for key in ("pred_instances", "gt_instances", "ignored_instances")
            )
            self.results.append(
                {
                    "found": (
                        _array(found["bboxes"]),
                        _array(found["scores"]),
                        _array(found["labels"]),
                    ),
                    "counting": (_array(truth["bboxes"]), _array(truth["labels"])),
                    "difficult": (_array(odd["bboxes"]), _array(odd["labels"])),
                }
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return all averages, 0 to 1; 0 if no class has an object.

        Raises:
            UserError: A detection is not finite.
        """
        names = _classes(self)
        detections, truths = _detections(results), _truths(results)
        by_class = average_precision.evaluate(detections, truths, len(names))
        coco = coco_precision.evaluate(detections, truths, len(names))
        self.details = {
            "images": len(results),
            "iou": 0.5,
            "absent_classes": [
                name for name, entry in zip(names, by_class, strict=True) if not entry.objects
            ],
            "classes": {
                name: _detail(entry, coco.by_class[label])
                for label, (name, entry) in enumerate(zip(names, by_class, strict=True))
            },
        }
        voc07, voc10 = _mean([c.ap_11 for c in by_class]), _mean([c.ap_area for c in by_class])
        return {
            "map": voc07 if self.eval_mode == "11points" else voc10,
            "voc07_map": voc07,
            "voc10_map": voc10,
            "coco_ap": _mean([coco.ap]),
            "coco_ap50": _mean([coco.ap_50]),
            "coco_ap75": _mean([coco.ap_75]),
        }


def _classes(metric: BaseMetric) -> Sequence[str]:
    """Return the names of the dataset's classes, which mmengine passes to the evaluator."""
    meta = metric.dataset_meta
    assert meta is not None
    return meta["classes"]


def _array(tensor: Any) -> Floats:
    return tensor.detach().cpu().double().numpy()


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else 0.0


def _detections(results: Sequence[Mapping[str, Any]]) -> Detections:
    box, score, label = (
        np.concatenate([result["found"][part] for result in results]) for part in range(3)
    )
    if not (np.isfinite(box).all() and np.isfinite(score).all()):
        raise UserError(
            "the detector puts out boxes or scores that are not finite numbers; train it with a smaller lr"
        )
    image = np.repeat(np.arange(len(results)), [len(result["found"][1]) for result in results])
    return Detections(image, label.astype(np.int64), box.reshape(-1, 4), score)


def _truths(results: Sequence[Mapping[str, Any]]) -> Truths:
    boxes, labels, images, difficult = [], [], [], []
    for image, result in enumerate(results):
        for key in ("counting", "difficult"):
            box, label = result[key]
            boxes.append(box.reshape(-1, 4))
            labels.append(label.astype(np.int64))
            images.append(np.full(len(label), image))
            difficult.append(np.full(len(label), key == "difficult"))
    return Truths(*map(np.concatenate, (images, labels, boxes, difficult)))


def _detail(entry: ClassPrecision, coco_ap: float) -> dict[str, Any]:
    """Return the entry of a class in `evaluation.json`; averages are null without objects."""
    best = np.maximum.accumulate(entry.precision[::-1])[::-1]
    at = np.searchsorted(entry.recall, CURVE_RECALLS)
    curve = np.append(best, 0.0)[np.minimum(at, len(best))] if entry.objects else []
    return {
        "objects": entry.objects,
        "difficult": entry.difficult,
        "detections": entry.detections,
        "ignored": entry.ignored,
        "duplicates": entry.duplicates,
        "voc07_ap": _or_none(entry.ap_11),
        "voc10_ap": _or_none(entry.ap_area),
        "coco_ap": _or_none(coco_ap),
        # The best precision at recall 0, 0.01 … 1 or above.
        "precision": [round(float(value), 4) for value in curve],
    }


def _or_none(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
