"""RoI features in float32."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class Float32RoIExtractor(SingleRoIExtractor):
    """mmdet's extractor on float32 features.

    The stock one casts the RoIs to the features' type. In bfloat16 a corner at 600 px then moves in steps of
    4 px, in float16 in steps of 0.5 px, and RoIAlign samples beside the object.
    """

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, *scale: Any) -> Tensor:
        """Pool RoIs `(R, 5)` (image, x1, y1, x2, y2) from feature maps to `(R, C, size, size)`."""
        return super().forward(tuple(f.float() for f in feats), rois.float(), *scale)  # pyright: ignore[reportArgumentType]
