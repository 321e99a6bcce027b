"""Reading label maps, and a check that labels lie in the classes before they reach a loss that would crash."""

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

    mmseg's own transform does the same, but it takes a map of 16 bits modulo 256.

    Args:
        num_classes: K; labels in the file are 0 … K, or 255.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `gt_seg_map`.

        Raises:
            UserError: The map is damaged, has not the image's shape, or holds a value outside the classes.
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
    """Return a label map as the file has it, (H, W), or (H, W, channels) if it is no label map.

    Raises:
        UserError: It cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except Exception as error:  # Pillow raises nearly anything for damaged files.
        raise UserError(
            f"the label map {path} cannot be decoded ({error}); replace it, or take it and its image out of "
            "the dataset"
        ) from None
