"""RoIAlign on a CPU as weighted sums of rows of a channels-last feature map.

torchvision's CPU kernels want NCHW, go through memory channel by channel, and add gradients in one thread. Here each
location of the map is a row of C numbers, and each bin of a region a weighted sum of a few rows: `embedding_bag`, which
is vectorised over the channels and runs in all threads. The gradient with respect to a location is the same sum over
the bins that read it, always in the same order.

Bilinear sampling is separable: the weight of a location in a bin is the product of one weight for its row of the map
and one for its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """How regions are sampled.

    Attributes:
        shape: Of the feature map, `(N, C, H, W)`.
        rows: Bins of a region, vertically.
        columns: Bins of a region, horizontally.
        spatial_scale: Locations of the map per pixel.
        sampling_ratio: Points per bin and axis; 0 for one per location, rounded up.
        aligned: Whether the centre of the first location is at 0.5 pixels of the map.
    """

    shape: tuple[int, int, int, int]
    rows: int
    columns: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool


# Which bin reads which location with which weight: numbers of bins, numbers of locations, and weights.
_Taps = tuple[Tensor, Tensor, Tensor]


def pool_levels(
    features: Sequence[Tensor], rois: Tensor, levels: Tensor, geometries: Sequence[Geometry]
) -> Tensor:
    """Return the pooled features `(R, C, rows, columns)` of regions, float32 in channels-last memory.

    Args:
        features: The maps `(N, C, H, W)` of the levels, of any floating type; channels-last memory is read as it is.
        rois: `(R, 5)` float32: index of the image, and corners x1, y1, x2, y2 in pixels.
        levels: Which map each region is pooled from, `(R,)`.
        geometries: How to sample each map; all have the same number of bins.
    """
    return _PoolLevels.apply(rois, levels, geometries, *features)


class _PoolLevels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rois: Tensor, levels: Tensor, geometries: Sequence[Geometry], *features: Tensor
    ) -> Tensor:
        rows, columns, channels = geometries[0].rows, geometries[0].columns, features[0].shape[1]
        pooled = rois.new_zeros(len(rois), rows * columns, channels)
        ctx.geometries, ctx.taps = geometries, []
        ctx.dtypes = [feature.dtype for feature in features]
        for level, (feature, geometry) in enumerate(zip(features, geometries, strict=True)):
            chosen = (levels == level).nonzero().flatten()
            bins, places, weights = _taps(rois[chosen], geometry)
            if len(chosen):
                table = feature.float().permute(0, 2, 3, 1).reshape(-1, channels)
                counts = torch.bincount(bins, minlength=len(chosen) * rows * columns)
                sums = _sum_rows(table, places, weights, counts)
                pooled[chosen] = sums.view(len(chosen), rows * columns, channels)
            region = torch.div(bins, rows * columns, rounding_mode="floor")
            bins = chosen[region] * (rows * columns) + bins % (rows * columns)
            ctx.taps.append((bins, places, weights))
        return pooled.view(len(rois), rows, columns, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        table = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])
        wanted = ctx.needs_input_grad[3:]
        gradients = [
            _gradient(table, taps, geometry).to(dtype) if needed else None
            for taps, geometry, dtype, needed in zip(
                ctx.taps, ctx.geometries, ctx.dtypes, wanted, strict=True
            )
        ]
        return None, None, None, *gradients


def _gradient(table: Tensor, taps: _Taps, geometry: Geometry) -> Tensor:
    """Return the gradient with respect to a map, in channels-last memory, from that of each bin `(bins, C)`."""
    bins, places, weights = taps
    images, channels, height, width = geometry.shape
    places, order = places.sort(stable=True)
    readers = torch.bincount(places, minlength=images * height * width)
    result = _sum_rows(table, bins[order], weights[order], readers)
    return result.view(images, height, width, channels).permute(0, 3, 1, 2)


def _sum_rows(table: Tensor, rows: Tensor, weights: Tensor, counts: Tensor) -> Tensor:
    """Return sums of weighted rows: of the first `counts[0]` in `rows`, of the next `counts[1]`, and so on."""
    if not len(rows):
        return table.new_zeros(len(counts), table.shape[1])
    ends = functional.pad(counts.cumsum(0), (1, 0))
    return functional.embedding_bag(
        rows, table, ends, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _taps(rois: Tensor, geometry: Geometry) -> _Taps:
    """Return which bin reads which location with which weight, ordered by bin.

    Returns:
        The number of the bin among `R * rows * columns`, that of the location among `N * H * W`, and the weight.
    """
    _, _, height, width = geometry.shape
    offset = 0.5 if geometry.aligned else 0.0
    x1, y1, x2, y2 = (rois[:, 1:] * geometry.spatial_scale - offset).unbind(dim=1)
    heights, widths = y2 - y1, x2 - x1
    if not geometry.aligned:
        heights, widths = heights.clamp(min=1.0), widths.clamp(min=1.0)
    first_y, number_y, weights_y = _axis(y1, heights, geometry.rows, height, geometry)
    first_x, number_x, weights_x = _axis(x1, widths, geometry.columns, width, geometry)
    # For each bin (R, rows, columns): its first location, and how many it reads.
    start = rois[:, 0].long()[:, None] * height + first_y
    start = start[:, :, None] * width + first_x[:, None, :]
    across = number_x[:, None, :].expand_as(start).flatten()
    counts = number_y[:, :, None] * number_x[:, None, :]
    counts = counts.flatten()
    bins = torch.repeat_interleave(counts)
    within = torch.arange(len(bins), device=rois.device) - (counts.cumsum(0) - counts)[bins]
    down = torch.div(within, across[bins], rounding_mode="floor")
    right = within - down * across[bins]
    places = start.flatten()[bins] + down * width + right
    row = torch.div(bins, geometry.columns, rounding_mode="floor")
    region = torch.div(row, geometry.rows, rounding_mode="floor")
    column = region * geometry.columns + bins % geometry.columns
    return (
        bins,
        places,
        weights_y.flatten()[row * weights_y.shape[-1] + down]
        * weights_x.flatten()[column * weights_x.shape[-1] + right],
    )


def _axis(
    start: Tensor, length: Tensor, bins: int, size: int, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which locations of an axis each bin reads.

    Args:
        start: Where the regions start, `(R,)` in locations.
        length: How long they are, `(R,)`.
        bins: Number of bins.
        size: Locations of the axis.
        geometry: How to sample.

    Returns:
        The first location `(R, bins)`, the number of locations `(R, bins)`, and their weights `(R, bins, K)`.
    """
    each = (length / bins)[:, None]
    ratio = geometry.sampling_ratio
    points = torch.full_like(each, ratio) if ratio > 0 else each.ceil().clamp(min=0.0)
    begin = start[:, None] + torch.arange(bins, dtype=start.dtype) * each
    most = int(points.max()) if len(points) else 0
    if most == 0:
        nothing = torch.zeros_like(begin, dtype=torch.long)
        return nothing, nothing, begin[..., None]
    numbers = torch.arange(most, dtype=start.dtype)
    step = each / points.clamp(min=1.0)
    position = begin[..., None] + ((numbers + 0.5) * step)[:, None, :]
    # Points just outside of the map take the value at its border.
    counts = (numbers < points)[:, None] & (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=size - 1)
    share = position - low
    first = torch.where(counts, low, size).amin(-1)
    number = (torch.where(counts, high, -1).amax(-1) - first + 1).clamp(min=0)
    # Locations beyond those of a bin, in a wider bin's table, have no weight.
    weights = begin.new_zeros(*begin.shape, max(1, int(number.max())))
    weights.scatter_add_(-1, _within(low, first, counts), (1 - share) * counts)
    weights.scatter_add_(-1, _within(high, first, counts), share * counts)
    return first, number, weights / points.clamp(min=1.0)[..., None]


def _within(location: Tensor, first: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts, location - first[..., None], 0)
