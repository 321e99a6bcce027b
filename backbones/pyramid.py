"""Build four maps for detectors and segmentors from the single map of a plain transformer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from backbones.backbone import Backbone, Feature

STRIDES = (4, 8, 16, 32)
_MIDDLE = 16


def dense_features(network: Backbone, output_stride: int) -> list[Feature]:
    """Return the maps for detectors and segmentors: the network's own, or the pyramid's for a plain network.

    Args:
        network: A network built at `output_stride`.
        output_stride: Input pixels per location of the coarsest map; it limits the strides of the pyramid's levels.
    """
    if not network.plain:
        return network.feature_info
    (source,) = network.feature_info
    return [_level(source, min(stride, output_stride)) for stride in STRIDES]


def _level(source: Feature, stride: int) -> Feature:
    # As in the paper's code, each doubling of the resolution halves the channels.
    divisor = max(1, _MIDDLE // stride)
    return Feature(f"{source.name}@{stride}", source.channels // divisor, stride)


class SimpleFeaturePyramid(nn.Module):
    """The simple feature pyramid of ViTDet (https://arxiv.org/abs/2203.16527, §3 and appendix A.2).

    All levels come from the last map: stride 4 by two transposed convolutions 2×2 with a norm and GELU between them,
    stride 8 by one, stride 16 is the map itself, stride 32 its maximum over 2×2 locations. The paper's two
    convolutions for each level, 1×1 and 3×3, belong to the neck. The pyramid is not part of the backbone and is
    initialised in each task. A map with a stride other than 16, such as 14, is first interpolated to 16.

    Args:
        source: The input map.
        levels: The maps that `forward` returns, from `dense_features`. Levels of equal stride share a map. Layers
            that no level needs are not built, because distributed training would wait for their gradients.
    """

    def __init__(self, source: Feature, levels: Sequence[Feature]) -> None:
        super().__init__()
        self.source = source
        self.levels = tuple(levels)
        self.layers = nn.ModuleDict(
            {str(stride): _layers(source.channels, stride) for stride in {f.stride for f in levels}}
        )

    def forward(self, x: Tensor, image_size: Sequence[int]) -> list[Tensor]:
        """Compute the levels.

        Args:
            x: The map `(N, C, ⌈H / s⌉, ⌈W / s⌉)` of stride s.
            image_size: H and W.

        Returns:
            One map `(N, channels, ⌈H / stride⌉, ⌈W / stride⌉)` per level.
        """
        x = _crop(_to_middle(x, self.source.stride), image_size, _MIDDLE)
        found = {
            stride: _crop(layers(x), image_size, int(stride))
            for stride, layers in self.layers.items()
        }
        return [found[str(level.stride)] for level in self.levels]


def _layers(channels: int, stride: int) -> nn.Sequential:
    if stride == 4:
        return nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 2, 2, 2),
            LayerNorm2d(channels // 2),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 2, channels // 4, 2, 2),
        )
    if stride == 8:
        return nn.Sequential(nn.ConvTranspose2d(channels, channels // 2, 2, 2))
    if stride == _MIDDLE:
        return nn.Sequential()
    return nn.Sequential(nn.MaxPool2d(2, ceil_mode=True))


def _to_middle(x: Tensor, stride: int) -> Tensor:
    """Interpolate a map to stride 16, aligned with the image."""
    if stride == _MIDDLE:
        return x
    # The last location at stride 16 may be partly outside the map.
    beyond = math.ceil(_MIDDLE / stride)
    x = functional.pad(x, (0, beyond, 0, beyond), mode="replicate")
    return functional.interpolate(x, scale_factor=stride / _MIDDLE, mode="bilinear")


def _crop(x: Tensor, image_size: Sequence[int], stride: int) -> Tensor:
    height, width = image_size
    return x[..., : math.ceil(height / stride), : math.ceil(width / stride)]
