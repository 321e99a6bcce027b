"""Labelled features of objects, for transferability estimates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import roi_align


def object_features(last_map: Tensor, sample: Any, stride: int) -> tuple[Tensor, Tensor]:
    """Return the mean of the last map over each object's box, by RoIAlign with output size 1.

    Args:
        last_map: (C, h, w).
        sample: mmdet's sample from the test pipeline. Boxes are in pixels of the file; `scale_factor` converts them
            to pixels of the network's input. Difficult objects, crowds and boxes that are too small for training are
            excluded.
        stride: Pixels per location of the map.

    Returns:
        Features (m, C) and class indices (m,) of the m objects.
    """
    truth = sample.gt_instances
    boxes = truth.bboxes.to(last_map) * torch.tensor([*sample.scale_factor] * 2).to(last_map)
    pooled = roi_align(
        last_map[None], [boxes], output_size=1, spatial_scale=1 / stride, aligned=True
    )
    return pooled.flatten(1), truth.labels
