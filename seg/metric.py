"""The evaluator of the segmentation task: one exact confusion matrix on the device of the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from PIL import Image
from torch import Tensor

from contract.errors import UserError
from seg.labels import IGNORED


class Scores(NamedTuple):
    """Scores of a confusion matrix, as fractions.

    Attributes:
        pixacc: Fraction of labelled pixels with the right class.
        miou: Mean of `iou` over the classes that occur in labels or predictions.
        macc: Mean of `accuracy` over the classes that occur in labels.
        iou: Intersection over union of each class, shape (K,); NaN for a class that is neither labelled nor predicted.
        accuracy: Fraction of each class's labelled pixels that are right, shape (K,); NaN if there are none.
    """

    pixacc: float
    miou: float
    macc: float
    iou: Tensor
    accuracy: Tensor


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count the labelled pixels of each class by predicted class.

    Args:
        predicted: Classes 0 to K − 1, of any shape.
        labels: Classes 0 to K − 1, or 255 for ignored pixels; of the same shape.
        num_classes: K.

    Returns:
        Counts of shape (K, K), int64: rows are labels, columns predictions.

    Raises:
        UserError: A label is not a class.
    """
    # Ignored pixels are counted in rows that are cut off, which is several times faster than selecting the others.
    pairs = torch.add(predicted.to(torch.int32), labels.to(torch.int32), alpha=num_classes)
    counts = torch.bincount(pairs.flatten(), minlength=(IGNORED + 1) * num_classes)
    strays = counts[num_classes**2 : IGNORED * num_classes]
    if strays.any():
        label = num_classes + int(strays.nonzero()[0]) // num_classes
        raise UserError(
            f"a label map holds {label}; with {num_classes} classes its values must be 0 to {num_classes - 1}, or "
            f"{IGNORED} where nothing counts"
        )
    return counts[: num_classes**2].view(num_classes, num_classes)


def scores(matrix: Tensor) -> Scores:
    """Return pixel accuracy, IoU and class accuracy of a confusion matrix; an empty mean is 0.

    IoU is TP / (TP + FP + FN), the Jaccard index, over all images together (Everingham et al., IJCV 2010).
    """
    matrix = matrix.cpu().double()
    right, labelled, predicted = matrix.diagonal(), matrix.sum(dim=1), matrix.sum(dim=0)
    iou, accuracy = right / (labelled + predicted - right), right / labelled
    total = labelled.sum()
    return Scores(
        pixacc=float(right.sum() / total) if total else 0.0,
        miou=_mean(iou),
        macc=_mean(accuracy),
        iou=iou,
        accuracy=accuracy,
    )


def _mean(values: Tensor) -> float:
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else 0.0


def save_map(predicted: Tensor, path: Path) -> None:
    """Write classes 0 to K − 1, shape (1, H, W) or (H, W), as labels 1 to K; `LoadLabels` reads them back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = (predicted.squeeze() + 1).to(torch.uint8).cpu().numpy()
    Image.fromarray(labels).save(path)


@METRICS.register_module()
class SegmentationMetric(BaseMetric):
    """Pixel accuracy, mean IoU and mean class accuracy, as fractions: `seg/pixacc`, `seg/miou`, `seg/macc`.

    All pixels of all images have equal weight, except that those labelled 255 are ignored. After an evaluation,
    `details` contains the scores of each class and the confusion matrix. Several processes add their matrices, which
    is correct only if no image is given to two of them: the loader's sampler must not round up.

    Args:
        output_dir: Folder for the predicted maps in the format of ADE20K's server: 8-bit PNG files, named after their
            images, where 1 is the first class. None does not save them.
    """

    default_prefix = "seg"

    def __init__(self, output_dir: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self._matrix: Tensor | None = None
        self._images = 0
        self.details: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Count the pixels of a batch."""
        num_classes = len(_classes(self))
        for sample in data_samples:
            predicted = sample["pred_sem_seg"]["data"]
            labels = sample["gt_sem_seg"]["data"].to(predicted.device)
            matrix = confusion_matrix(predicted, labels, num_classes)
            self._matrix = matrix if self._matrix is None else self._matrix + matrix
            self._images += 1
            if self.output_dir is not None:
                save_map(predicted, self.output_dir / f"{Path(sample['img_path']).stem}.png")

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the scores of all images since the last call, in all processes."""
        num_classes = len(_classes(self))
        matrix = self._matrix
        if matrix is None:
            matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        images = torch.tensor([self._images], device=matrix.device)
        all_reduce(matrix)
        all_reduce(images)
        self._matrix, self._images = None, 0
        found = self.compute_metrics([(matrix, int(images))])
        return {f"{self.prefix}/{name}": value for name, value in found.items()}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the scores of a confusion matrix, which is given with its number of images."""
        ((matrix, images),) = results
        found = scores(matrix)
        labelled, predicted = matrix.sum(dim=1).tolist(), matrix.sum(dim=0).tolist()
        names = _classes(self)
        self.details = {
            "images": images,
            "absent_classes": [n for n, count in zip(names, labelled, strict=True) if not count],
            "classes": {
                name: {
                    "pixels": labelled[label],
                    "predicted": predicted[label],
                    "iou": _or_none(found.iou[label]),
                    "accuracy": _or_none(found.accuracy[label]),
                }
                for label, name in enumerate(names)
            },
            # Rows are labels, columns predictions.
            "confusion": matrix.tolist(),
        }
        return {"pixacc": found.pixacc, "miou": found.miou, "macc": found.macc}


def _classes(metric: BaseMetric) -> Sequence[str]:
    """Return the names of the dataset's classes, which mmengine passes to the evaluator."""
    meta = metric.dataset_meta
    assert meta is not None
    return meta["classes"]


def _or_none(value: Tensor) -> float | None:
    return None if value.isnan() else round(float(value), 6)
