"""The gradient of RoIAlign as matrix products, whose result does not depend on the order of GPU threads.

torchvision's CUDA kernel adds the gradients of overlapping regions with atomics, in any order. Its deterministic form
(`torchvision.ops.roi_align` under `torch.use_deterministic_algorithms`) needs torch.compile, a compiler on the machine,
and memory for every grid point of the map in every bin, as the number of sampling points depends on the region.

Bilinear sampling at a grid of points is separable: with weights Y (p, H) and X (q, W) of a region, its bins are
Y · feature · Xᵀ, so the gradient with respect to the feature is the sum of Yᵀ · gradient · X over the regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Regions at a time: their part of the sum takes CHUNK · p · C · W numbers.
CHUNK = 64


def roi_align_gradient(
    grad_output: Tensor,
    rois: Tensor,
    shape: tuple[int, int, int, int],
    *,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Return the gradient with respect to the feature map, of this shape `(N, C, H, W)`.

    Args:
        grad_output: Gradient of the pooled features, `(R, C, p, q)` float32.
        rois: `(R, 5)` float32: index of the image, and corners x1, y1, x2, y2 in pixels.
        shape: Of the feature map.
        spatial_scale: Locations of the map per pixel.
        sampling_ratio: Points per bin and axis; 0 for one per location, rounded up.
        aligned: Whether the centre of the first location is at 0.5 pixels of the map.
    """
    *_, height, width = shape
    *_, rows, columns = grad_output.shape
    offset = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (rois[:, 1:] * spatial_scale - offset).unbind(dim=1)
    heights, widths = y2 - y1, x2 - x1
    if not aligned:
        heights, widths = heights.clamp(min=1.0), widths.clamp(min=1.0)
    vertical = _weights(y1, heights, rows, height, sampling_ratio)
    horizontal = _weights(x1, widths, columns, width, sampling_ratio)
    gradient = grad_output.new_zeros(shape)
    with _without_tf32():
        for image, total in enumerate(gradient):
            for chosen in (rois[:, 0] == image).nonzero().flatten().split(CHUNK):
                total += _sum(grad_output[chosen], vertical[chosen], horizontal[chosen])
    return gradient


def _weights(start: Tensor, length: Tensor, bins: int, size: int, sampling_ratio: int) -> Tensor:
    """Return how much each location of an axis counts in each bin, `(R, bins, size)`.

    Args:
        start: Where the regions start, `(R,)` in locations.
        length: How long they are, `(R,)`.
        bins: Number of bins.
        size: Locations of the axis.
        sampling_ratio: Points per bin; 0 for one per location, rounded up.
    """
    each = length / bins
    points = torch.full_like(each, sampling_ratio) if sampling_ratio > 0 else each.ceil()
    numbers = torch.arange(bins, device=start.device, dtype=start.dtype)
    locations = torch.arange(size, device=start.device, dtype=start.dtype)
    weights = start.new_zeros(len(start), bins, size)
    most = int(points.max()) if len(points) else 0
    for number in range(most):
        within = (number + 0.5) * each / points.clamp(min=1.0)
        position = (start + within)[:, None] + numbers * each[:, None]
        # Points just outside of the map take the value at its border.
        counts = (number < points)[:, None] & (position >= -1) & (position <= size)
        distance = (position.clamp(0, size - 1)[..., None] - locations).abs()
        weights += (1 - distance).clamp(min=0.0) * counts[..., None]
    return weights / points.clamp(min=1.0)[:, None, None]


def _sum(gradient: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Return the sum of Yᵀ · gradient · X over some regions of an image, `(C, H, W)`."""
    count, channels, rows, _ = gradient.shape
    across = gradient.transpose(1, 2) @ horizontal[:, None]
    height, width = vertical.shape[-1], horizontal.shape[-1]
    total = vertical.reshape(count * rows, height).T @ across.reshape(count * rows, -1)
    return total.reshape(height, channels, width).transpose(0, 1)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Compute products in IEEE float32, as the kernel does."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32 = before
