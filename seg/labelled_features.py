"""Labelled features of the last map's locations, for transferability estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seg.labels import IGNORED


def location_features(last_map: Tensor, sample: Any, stride: int) -> tuple[Tensor, Tensor]:
    """Return the features of all locations in which one label has more than half of the pixels.

    Args:
        last_map: (C, h, w).
        sample: mmseg's sample from the test pipeline; its label map has the size of the file, and `img_shape` is the
            size of the network's input.
        stride: Pixels per location of the map.

    Returns:
        Features (m, C) and class indices (m,) of the m locations, row by row.
    """
    labels = sample.gt_sem_seg.data.to(last_map)[None]
    labels = functional.interpolate(labels, size=sample.img_shape[:2], mode="nearest-exact")
    majority = location_labels(labels[0, 0].long(), last_map.shape[1:], stride)
    labelled = majority != IGNORED
    return last_map[:, labelled].T, majority[labelled]


def location_labels(labels: Tensor, shape: Sequence[int], stride: int) -> Tensor:
    """Return the label of more than half of each location's pixels.

    Args:
        labels: (H, W); `IGNORED` for pixels without a label.
        shape: Height h and width w of the map.
        stride: Location (i, j) covers the rows from i · stride and the columns from j · stride; positions outside the
            image have no label.

    Returns:
        Labels (h, w); `IGNORED` for locations without a majority.
    """
    height, width = (cells * stride for cells in shape)
    below, right = height - labels.shape[0], width - labels.shape[1]
    labels = functional.pad(labels, (0, right, 0, below), value=IGNORED)
    majority = torch.full(tuple(shape), IGNORED, device=labels.device)
    for label in labels.unique().tolist():
        share = functional.avg_pool2d((labels == label).double()[None], stride)[0]
        majority[share > 0.5] = label
    return majority
