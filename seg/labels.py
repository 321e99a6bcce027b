"""A check that labels lie in the classes, before they reach a loss that would crash or learn nonsense."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from backbones import UserError

IGNORED = 255


@TRANSFORMS.register_module()
class CheckLabels(BaseTransform):
    """Refuse a label map with values outside the classes.

    Args:
        num_classes: K; after zero became the ignored label 255, the labels are 0 … K − 1.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pass a sample on unchanged.

        Raises:
            UserError: With the file, the value as it stands there, and the range.
        """
        labels = results["gt_seg_map"]
        if labels.ndim != 2 or labels.shape != tuple(results["ori_shape"]):
            raise UserError(
                f"the label map {results['seg_map_path']} has shape {labels.shape}, and its image is "
                f"{tuple(results['ori_shape'])}; both need the same height and width, and one channel"
            )
        wrong = labels[(labels >= self.num_classes) & (labels != IGNORED)]
        if wrong.size:
            raise UserError(
                f"the label map {results['seg_map_path']} holds the value {int(np.max(wrong)) + 1}; allowed "
                f"are 0 (ignored) to {self.num_classes}, the number of classes listed; mend the map, or "
                "complete the list of classes"
            )
        return results
