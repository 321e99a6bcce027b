"""RoI features in float32."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class Float32RoIExtractor(SingleRoIExtractor):
    """mmdet's extractor on float32 features.

    The stock extractor casts the RoIs to the dtype of the features. A corner at 600 px is then rounded to 4 px in
    bfloat16 and to 0.5 px in float16, and RoIAlign samples the wrong positions.
    """

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, *scale: Any) -> Tensor:
        """Pool RoIs `(R, 5)` (image, x1, y1, x2, y2) from feature maps to `(R, C, size, size)`."""
        return super().forward(tuple(f.float() for f in feats), rois.float(), *scale)  # pyright: ignore[reportArgumentType]
