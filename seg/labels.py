"""Load label maps and check that labels are valid classes, because the loss would crash otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from PIL import Image

from contract.errors import UserError
from datasets.layouts.ade20k import IGNORED


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Load `seg_map_path` as `(H, W)` uint8: label 0 becomes 255, which is ignored, and n becomes n − 1.

    mmseg's transform does the same, but it reads 16-bit maps modulo 256.

    Args:
        num_classes: K; labels in the file are 0 … K, or 255.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `gt_seg_map`.

        Raises:
            UserError: The map is damaged, its shape differs from the image's, or a value is not a class.
        """
        path = results["seg_map_path"]
        labels = read_labels(path)
        if labels.shape != tuple(results["ori_shape"]):
            raise UserError(
                f"the label map {path} has shape {labels.shape}, and its image is "
                f"{tuple(results['ori_shape'])}; both need the same height and width, and one channel"
            )
        wrong = labels[(labels > self.num_classes) & (labels != IGNORED)]
        if wrong.size:
            raise UserError(
                f"the label map {path} holds the value {int(np.max(wrong))}; allowed are 0 (ignored) to "
                f"{self.num_classes}, the number of classes listed; fix the map, or complete the list of "
                "classes"
            )
        ignored = (labels == 0) | (labels == IGNORED)
        results["gt_seg_map"] = np.where(ignored, IGNORED, labels.astype(np.int16) - 1).astype(
            np.uint8
        )
        results["seg_fields"].append("gt_seg_map")
        return results


def read_labels(path: str) -> np.ndarray:
    """Return the content of a label map, (H, W), or (H, W, channels) if the file is not a label map.

    Raises:
        UserError: The file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except Exception as error:  # Pillow raises nearly anything for damaged files.
        raise UserError(
            f"the label map {path} cannot be decoded ({error}); replace it, or take it and its image out of "
            "the dataset"
        ) from None
