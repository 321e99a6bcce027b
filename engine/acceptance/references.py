"""Second definitions of the bridged ops, in float64 on a CPU, from the formulas of their papers.

They are written with other functions of torch than the ops themselves, and are slow. Gradients come from autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def kept_boxes(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Return the indices that non-maximum suppression keeps, by decreasing score.

    Args:
        boxes: `(N, 4)` corners x1, y1, x2, y2.
        scores: `(N,)`.
        threshold: Boxes whose IoU with a better one is larger are dropped.
    """
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(_iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


def _iou(first: Tensor, second: Tensor) -> float:
    x1, y1 = torch.maximum(first[:2], second[:2]).tolist()
    x2, y2 = torch.minimum(first[2:], second[2:]).tolist()
    shared = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (first, second))
    return shared / (areas - shared)


def roi_align(features: Tensor, rois: Tensor, size: int, scale: float, samples: int) -> Tensor:
    """Pool regions by bilinear samples (1703.06870, §3), with the half-pixel shift of `aligned=True`.

    Args:
        features: `(N, C, H, W)`.
        rois: `(R, 5)`: image, x1, y1, x2, y2 in pixels. All samples must lie between locations of the map.
        size: Side of the pooled features.
        scale: Locations per pixel.
        samples: Samples per bin and axis.

    Returns:
        `(R, C, size, size)`.
    """
    height, width = features.shape[-2:]
    # Centres of the samples in units of a region's side.
    steps = (torch.arange(size * samples, dtype=features.dtype) + 0.5) / (size * samples)
    pooled = []
    for image, *corners in rois.tolist():
        x1, y1, x2, y2 = (corner * scale - 0.5 for corner in corners)
        x, y = x1 + steps * (x2 - x1), y1 + steps * (y2 - y1)
        # grid_sample takes -1 and 1 for the first and the last location.
        grid_x = 2 * x / (width - 1) - 1
        grid_y = 2 * y / (height - 1) - 1
        grid = torch.stack(torch.meshgrid(grid_x, grid_y, indexing="xy"), dim=-1)
        plane = features[int(image)][None]
        values = functional.grid_sample(plane, grid[None], align_corners=True)
        pooled.append(functional.avg_pool2d(values, samples)[0])
    return torch.stack(pooled)


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, gamma: float, alpha: float) -> Tensor:
    """Return the focal loss (1708.02002, Eq. 5) of each logit.

    Args:
        logits: `(N, C)`.
        targets: `(N,)` classes; C is background.
        gamma: Exponent of `1 - p_t`.
        alpha: Weight of the true class; the others have weight `1 - alpha`.
    """
    true = functional.one_hot(targets, logits.shape[1] + 1)[:, :-1].bool()
    p = logits.sigmoid()
    p_true = torch.where(true, p, 1 - p)
    weight = torch.where(true, alpha, 1 - alpha)
    return -weight * (1 - p_true) ** gamma * p_true.log()


def deform_conv2d(images: Tensor, offset: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Return a deformable convolution (1811.11168, Eq. 1) with stride 1 that keeps the size.

    Args:
        images: `(N, C, H, W)`.
        offset: `(N, 2·k·k, H, W)`: y and x of each tap, in locations.
        weight: `(O, C, k, k)`.
        mask: `(N, k·k, H, W)`, factor of each tap.
    """
    height, width = images.shape[-2:]
    side = weight.shape[-1]
    rows = torch.arange(height, dtype=images.dtype)[:, None]
    columns = torch.arange(width, dtype=images.dtype)[None]
    total = torch.zeros(images.shape[0], weight.shape[0], height, width, dtype=images.dtype)
    for tap in range(side * side):
        down, right = divmod(tap, side)
        y = rows + down - side // 2 + offset[:, 2 * tap]
        x = columns + right - side // 2 + offset[:, 2 * tap + 1]
        grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
        # Outside of the image everything is 0, and a sample at the border is a mixture with it.
        values = functional.grid_sample(images, grid, align_corners=True, padding_mode="zeros")
        values = values * mask[:, tap, None]
        total = total + torch.einsum("nchw,oc->nohw", values, weight[:, :, down, right])
    return total
