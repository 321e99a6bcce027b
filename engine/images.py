"""The transform that decodes images in the pipelines of mmdet and mmseg."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from datasets.images import read_rgb


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load `img_path` as `(H, W, 3)` uint8 in BGR order, which mmdet's and mmseg's pipelines expect.

    The stock transform uses OpenCV, which silently fills the rest of a truncated JPEG with grey.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `img`, `img_shape` and `ori_shape` (height, width in pixels)."""
        image = np.ascontiguousarray(np.asarray(read_rgb(results["img_path"]))[:, :, ::-1])
        results["img"] = image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results
