"""The labelled regions of an image by which a backbone's features are judged before training: the last map's cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seg.labels import IGNORED


def location_features(last_map: Tensor, sample: Any, stride: int) -> tuple[Tensor, Tensor]:
    """Return the cells of the last map more than half of whose pixels have one label.

    Args:
        last_map: (C, h, w).
        sample: mmseg's, from the test pipeline; its label map has the size of the file, and `img_shape` tells that of
            the network's image.
        stride: Pixels per cell of the map.

    Returns:
        Features (m, C) and class indices (m,) of the m cells, row by row.
    """
    labels = sample.gt_sem_seg.data.to(last_map)[None]
    labels = functional.interpolate(labels, size=sample.img_shape[:2], mode="nearest-exact")
    majority = location_labels(labels[0, 0].long(), last_map.shape[1:], stride)
    labelled = majority != IGNORED
    return last_map[:, labelled].T, majority[labelled]


def location_labels(labels: Tensor, shape: Sequence[int], stride: int) -> Tensor:
    """Return the label of more than half of each cell's pixels.

    Args:
        labels: (H, W); `IGNORED` where there is none.
        shape: Height h and width w of the map.
        stride: Cell (i, j) covers the rows from i · stride and the columns from j · stride on; what lies outside the
            image has no label.

    Returns:
        (h, w), `IGNORED` where no label has the majority.
    """
    height, width = (cells * stride for cells in shape)
    below, right = height - labels.shape[0], width - labels.shape[1]
    labels = functional.pad(labels, (0, right, 0, below), value=IGNORED)
    majority = torch.full(tuple(shape), IGNORED, device=labels.device)
    for label in labels.unique().tolist():
        share = functional.avg_pool2d((labels == label).double()[None], stride)[0]
        majority[share > 0.5] = label
    return majority
