"""RoI features in float32."""

from __future__ import annotations

from typing import Any

from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.registry import MODELS
from torch import Tensor

from engine.roi_align_rows import Geometry, pool_levels


@MODELS.register_module()
class Float32RoIExtractor(SingleRoIExtractor):
    """mmdet's extractor on float32 features.

    The stock extractor casts the RoIs to the dtype of the features. A corner at 600 px is then rounded to 4 px in
    bfloat16 and to 0.5 px in float16, and RoIAlign samples the wrong positions.

    On a CPU, average-pooling RoIAlign of all levels is computed as sums of rows (engine/roi_align_rows.py), which
    differs from torchvision's kernel by float32 rounding.
    """

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, *scale: Any) -> Tensor:
        """Pool RoIs `(R, 5)` (image, x1, y1, x2, y2) from feature maps to `(R, C, size, size)`."""
        rois = rois.float()
        if rois.device.type != "cpu" or not all(map(_is_average, self.roi_layers)):
            floats = tuple(f.float() for f in feats)
            return super().forward(floats, rois, *scale)  # pyright: ignore[reportArgumentType]
        levels = self.map_roi_levels(rois, len(feats))
        if scale and scale[0] is not None:
            rois = self.roi_rescale(rois, scale[0])
        geometries = list(map(_geometry, feats, self.roi_layers))
        return pool_levels(feats, rois, levels, geometries)


def _is_average(layer: Any) -> bool:
    return isinstance(layer, RoIAlign) and layer.pool_mode == "avg"


def _geometry(feature: Tensor, layer: Any) -> Geometry:
    rows, columns = layer.output_size
    ratio, scale = layer.sampling_ratio, layer.spatial_scale
    images, channels, height, width = feature.shape
    return Geometry((images, channels, height, width), rows, columns, scale, ratio, layer.aligned)
