"""Shared parts of networks: output strides, width factors, squeeze-and-excitation, deformable convolutions.

Output strides below 32 use the à-trous method of https://arxiv.org/abs/1606.00915: if a stage gives up its stride of
2, the distance between the taps of every later convolution doubles. At each new position, the convolution then sees
the same inputs as in training.

Squeeze-and-excitation: Hu et al., §3, https://arxiv.org/abs/1709.01507.

Deformable convolutions read each tap of the kernel at a position that the input predicts. Version 1: Dai et al.,
https://arxiv.org/abs/1703.06211. Version 2, "modulated": Zhu et al., https://arxiv.org/abs/1811.11168. The compiled
kernels are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

_FEWEST_CHANNELS = 8
# The paper's reduction ratio of squeeze-and-excitation.
_REDUCTION = 16
_FEWEST_HIDDEN = 8
_TAPS = 3 * 3


class StagePlan(NamedTuple):
    """Strides and dilations of one stage.

    Attributes:
        stride: Stride of the first block.
        first_dilation: Dilation of the first block, whose input still has the dilation of the stage before.
        dilation: Dilation of the other blocks.
        output_stride: Input pixels per location of the output map.
    """

    stride: int
    first_dilation: int
    dilation: int
    output_stride: int


def plan_stages(strides: Sequence[int], *, stem_stride: int, output_stride: int) -> list[StagePlan]:
    """Compute strides and dilations such that no map is coarser than the output stride.

    Args:
        strides: Stride of each stage in the undilated network.
        stem_stride: Input pixels per location of the first stage's input map.
        output_stride: Stride of the last map.

    Returns:
        One plan per stage.
    """
    plans = []
    total, dilation = stem_stride, 1
    for stride in strides:
        first_dilation = dilation
        if total * stride > output_stride:
            stride, dilation = 1, dilation * stride
        total *= stride
        plans.append(StagePlan(stride, first_dilation, dilation, total))
    return plans


def scaled(channels: int, width_factor: float) -> int:
    """Return the channels of a layer under a width factor: ⌊α · channels⌋, at least 8.

    Source: MobileNets §3.3, https://arxiv.org/abs/1704.04861; rounding and minimum as in the authors' code,
    https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.py.

    Args:
        channels: Channels at the factor 1.
        width_factor: α.

    Returns:
        The number of channels to build.
    """
    return max(int(channels * width_factor), _FEWEST_CHANNELS)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate that sees the whole map.

    s = σ(W₂ · relu(W₁ · z)), where z_c is the mean of channel c; the output is s_c · x_c. W₁ keeps one channel of 16,
    the paper's reduction ratio, and at least 8, which matters only in narrow layers. Both are 1×1 convolutions with
    biases and have timm's names, so public checkpoints can be loaded.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // _REDUCTION, _FEWEST_HIDDEN)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels: (N, C, H, W) to the same shape."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.relu(self.fc1(means))).sigmoid()


class DilatedAveragePool(nn.Module):
    """The average of 3×3 locations at stride 1; locations outside the map count as zeros.

    Args:
        dilation: Distance between the locations.
    """

    def __init__(self, dilation: int):
        super().__init__()
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Compute: (N, C, H, W) to the same shape."""
        if self.dilation == 1:
            return nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
        # torch has no dilated pool. The taps are 1, because bfloat16 would round 1/9.
        channels, apart = x.shape[1], self.dilation
        taps = x.new_ones(channels, 1, 3, 3)
        total = nn.functional.conv2d(x, taps, padding=apart, dilation=apart, groups=channels)
        return total / taps[0].numel()


@dataclass(frozen=True)
class Deformation:
    """Which 3×3 convolutions of a network are deformable.

    Attributes:
        modulated: Version 2 (True) or version 1.
        stages: The stages, counted from 1, with deformable 3×3 convolutions. The default is that of version 2 (§3.1):
            conv3 to conv5.
    """

    modulated: bool
    stages: tuple[int, ...] = (2, 3, 4)


# Learning-rate factor of the convolutions that predict offsets and masks in version 2 (§3.2); version 1 has none.
OFFSET_LR_MULTIPLIER = 0.1


class OffsetConv2d(nn.Conv2d):
    """The convolution that predicts offsets; every initialisation sets it to zero.

    Attributes:
        lr_multiplier: Factor on the learning rate of its parameters; see `Backbone.lr_multipliers`.
    """

    lr_multiplier: float = 1.0

    def reset_parameters(self) -> None:
        """Set weight and bias to 0, as both papers do (version 2, §3.2)."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class DeformableConv2d(nn.Conv2d):
    """A deformable 3×3 convolution without bias.

    y(p) = Σₖ wₖ · mₖ(p) · x(p + pₖ + Δpₖ(p)), where x is interpolated bilinearly and is 0 outside the image. A
    convolution of the same geometry over the same input predicts Δp = (Δy, Δx) for each of the nine taps and, in
    version 2, the logit of m; in version 1, m is 1. `weight` is named as in a plain convolution; `conv_offset` and
    the order of its channels are mmcv's: Δy₁, Δx₁, …, Δy₉, Δx₉, then the nine of m.

    At the start all predictions are 0. Version 1 is then the plain convolution. In version 2, m = σ(0) = 0.5, as in
    the paper (§3.2), mmcv and detectron2. The output is then half the plain one; the normalisation that follows
    removes the factor. Some code doubles the output, which would change the features of published weights.

    Everything is computed in float32, inside autocast too: offsets are positions in pixels, and the eight bits of
    bfloat16 are too few for them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the convolution.
        dilation: Distance between its taps without offsets.
        modulated: Version 2 (True) or version 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        modulated: bool,
    ):
        super().__init__(
            in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.modulated = modulated
        self.conv_offset = OffsetConv2d(
            in_channels, (3 if modulated else 2) * _TAPS, 3, stride, dilation, dilation
        )
        if modulated:
            self.conv_offset.lr_multiplier = OFFSET_LR_MULTIPLIER

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: (N, in_channels, H, W) to (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉).

        Args:
            x: A map of any float type; the weights are float32, which autocast does not change.

        Returns:
            The output, with the dtype of `x`.
        """
        (stride, _), (dilation, _) = self.stride, self.dilation
        with _without_autocast(x.device.type):
            inputs = x.float()
            predicted = self.conv_offset(inputs)
            output = deform_conv2d(
                inputs,
                predicted[:, : 2 * _TAPS],
                self.weight,
                stride=(stride, stride),
                padding=(dilation, dilation),
                dilation=(dilation, dilation),
                mask=predicted[:, 2 * _TAPS :].sigmoid() if self.modulated else None,
            )
        return output.to(x.dtype)


def _without_autocast(device_type: str) -> AbstractContextManager:
    # The device "meta", on which costs are counted, has no autocast.
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def predicts_modulated_offsets(parent: nn.Module, child: nn.Module, name: str) -> bool:
    """Return whether a module is the `conv_offset` of mmcv and detectron2 in a convolution of version 2.

    Args:
        parent: The deformable convolution; it may have the attribute `deform_groups`.
        child: One of its children.
        name: The child's name.
    """
    groups = getattr(parent, "deform_groups", 1)
    return (
        name == "conv_offset"
        and isinstance(child, nn.Conv2d)
        and child.out_channels == 3 * _TAPS * groups
    )
