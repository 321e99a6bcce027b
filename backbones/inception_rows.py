"""The kinds of rows that an Inception network is a table of, and the module that each builds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backbones.width_factor import scaled

_BATCH_NORM_EPSILON = 1e-3


class Geometry(NamedTuple):
    """What the rows of a stage have in common.

    Attributes:
        stride: Stride of the rows that halve the resolution.
        dilation: Distance between the taps of every kernel.
        valid_padding: Leave unpadded what the paper does.
        width_factor: Multiplies the channels of every row.
    """

    stride: int
    dilation: int
    valid_padding: bool
    width_factor: float


@dataclass(frozen=True)
class Row(ABC):
    """One row.

    Attributes:
        name: Name of its module, torchvision's where it has tensors.
    """

    name: str

    @abstractmethod
    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module: (N, in_channels, H, W) to (N, out_channels, H', W').

        Args:
            in_channels: Channels of its input.
            geometry: What the stage asks for.

        Returns:
            The module, and the channels of its output.
        """


@dataclass(frozen=True)
class Convolution(Row):
    """A convolution without bias, its normalisation and ReLU.

    Attributes:
        channels: Channels of the output at the width factor 1.
        kernel: Height and width, both odd.
        halves: Whether it takes the stride of its stage.
        padded: Whether the paper pads it.
    """

    channels: int
    kernel: tuple[int, int] = (1, 1)
    halves: bool = False
    padded: bool = True

    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module."""
        channels = scaled(self.channels, geometry.width_factor)
        padding = (0, 0)
        if self.padded or not geometry.valid_padding:
            height, width = (size // 2 * geometry.dilation for size in self.kernel)
            padding = (height, width)
        convolution = nn.Conv2d(
            in_channels,
            channels,
            self.kernel,
            stride=geometry.stride if self.halves else 1,
            padding=padding,
            dilation=geometry.dilation,
            bias=False,
        )
        return ConvolutionBlock(convolution), channels


@dataclass(frozen=True)
class MaximumPool(Row):
    """The maximum of 3×3 cells; takes the stride of its stage; unpadded in the paper."""

    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module."""
        stride, dilation = geometry.stride, geometry.dilation
        if dilation == 1:
            padding = 0 if geometry.valid_padding else 1
            return nn.MaxPool2d(3, stride, padding), in_channels
        # torch's pool refuses to pad by as much as dilation asks for.
        padding = nn.ConstantPad2d(dilation, -math.inf)
        return nn.Sequential(padding, nn.MaxPool2d(3, stride, dilation=dilation)), in_channels


@dataclass(frozen=True)
class AveragePool(Row):
    """The average of 3×3 cells at stride 1."""

    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module."""
        return DilatedAveragePool(geometry.dilation), in_channels


@dataclass(frozen=True)
class Branch:
    """A part of a mixed block.

    Attributes:
        trunk: Rows that follow one another.
        ends: Rows that each see what leaves the trunk, and whose outputs leave the block.
    """

    trunk: tuple[Row, ...]
    ends: tuple[Row, ...]


@dataclass(frozen=True)
class Mixed(Row):
    """Branches over the same input, their outputs concatenated."""

    branches: tuple[Branch, ...]

    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module."""
        block = MixedBlock(self.branches, in_channels, geometry)
        return block, block.out_channels


class ConvolutionBlock(nn.Module):
    """A convolution, its normalisation and ReLU.

    Args:
        convolution: The convolution.
    """

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        self.conv = convolution
        self.bn = nn.BatchNorm2d(convolution.out_channels, eps=_BATCH_NORM_EPSILON)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute: (N, C, H, W) to (N, C', H', W')."""
        return self.relu(self.bn(self.conv(x)))


class DilatedAveragePool(nn.Module):
    """The average of 3×3 cells, at stride 1; cells outside of the map count as zeros.

    Args:
        dilation: Distance between the cells.
    """

    def __init__(self, dilation: int):
        super().__init__()
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Compute: (N, C, H, W) to the same shape."""
        if self.dilation == 1:
            return nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
        # torch has no dilated pool. The taps are 1, and not 1/9, which bfloat16 would round.
        channels, apart = x.shape[1], self.dilation
        taps = x.new_ones(channels, 1, 3, 3)
        total = nn.functional.conv2d(x, taps, padding=apart, dilation=apart, groups=channels)
        return total / taps[0].numel()


class MixedBlock(nn.Module):
    """Branches over the same input, their outputs concatenated.

    Args:
        branches: The rows of the branches.
        in_channels: Channels of the input.
        geometry: What the stage asks for.
    """

    def __init__(self, branches: tuple[Branch, ...], in_channels: int, geometry: Geometry):
        super().__init__()
        self.branches = branches
        self.out_channels = 0
        for branch in branches:
            channels = in_channels
            for row in branch.trunk:
                channels = self._add(row, channels, geometry)
            for row in branch.ends:
                self.out_channels += self._add(row, channels, geometry)

    def _add(self, row: Row, in_channels: int, geometry: Geometry) -> int:
        module, out_channels = row.build(in_channels, geometry)
        self.add_module(row.name, module)
        return out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Compute: (N, in_channels, H, W) to (N, out_channels, H', W')."""
        outputs = []
        for branch in self.branches:
            y = x
            for row in branch.trunk:
                y = self.get_submodule(row.name)(y)
            outputs += [self.get_submodule(row.name)(y) for row in branch.ends]
        return torch.cat(outputs, 1)
