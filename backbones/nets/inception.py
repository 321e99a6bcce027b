"""Inception-V3.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", Table 1,
https://arxiv.org/abs/1512.00567. The paper does not specify everything, such as the channels of the branches; the
rest follows torchvision, which follows the authors' code.

The network is a table of rows; each builds a module. Parameters are named as in torchvision, so public checkpoints
can be loaded, except for their classifiers `fc` and `AuxLogits`. The public weights expect pixels from -1 to 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backbones.backbone import Backbone, Feature
from backbones.nets.layers import DilatedAveragePool, plan_stages, scaled
from contract.errors import UserError

_BATCH_NORM_EPSILON = 1e-3
_STEM_STRIDE = 2
_STRIDE = 2


@dataclass(frozen=True)
class InceptionConfig:
    """One row of the Inception family.

    Attributes:
        valid_padding: As in the paper, do not pad the first convolutions and the layers that halve the resolution.
            Maps are then smaller than the image divided by their stride, and not aligned with it: suitable only for
            classification.
        width_factor: Multiplies the channels of every layer.
    """

    valid_padding: bool = False
    width_factor: float = 1.0


class Geometry(NamedTuple):
    """Parameters that all rows of a stage share.

    Attributes:
        stride: Stride of the rows that halve the resolution.
        dilation: Distance between the taps of every kernel.
        valid_padding: As in `InceptionConfig`.
        width_factor: As in `InceptionConfig`.
    """

    stride: int
    dilation: int
    valid_padding: bool
    width_factor: float


@dataclass(frozen=True)
class Row(ABC):
    """One row of the table.

    Attributes:
        name: Name of its module; torchvision's name if the module has tensors.
    """

    name: str

    @abstractmethod
    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module, (N, in_channels, H, W) to (N, out_channels, H', W'), and return out_channels with it."""


@dataclass(frozen=True)
class Convolution(Row):
    """A convolution without bias, its normalisation and ReLU.

    Attributes:
        channels: Channels of the output at the width factor 1.
        kernel: Height and width, both odd.
        halves: Whether it has the stride of its stage.
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
        norm = nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPSILON)
        layers = OrderedDict[str, nn.Module](conv=convolution, bn=norm, relu=nn.ReLU(inplace=True))
        return nn.Sequential(layers), channels


@dataclass(frozen=True)
class MaximumPool(Row):
    """The maximum of 3×3 locations at the stride of the stage; not padded in the paper."""

    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module."""
        stride, dilation = geometry.stride, geometry.dilation
        if dilation == 1:
            padding = 0 if geometry.valid_padding else 1
            return nn.MaxPool2d(3, stride, padding), in_channels
        # torch's pool does not support the padding that dilation needs.
        padding = nn.ConstantPad2d(dilation, -math.inf)
        return nn.Sequential(padding, nn.MaxPool2d(3, stride, dilation=dilation)), in_channels


@dataclass(frozen=True)
class AveragePool(Row):
    """The average of 3×3 locations at stride 1."""

    def build(self, in_channels: int, geometry: Geometry) -> tuple[nn.Module, int]:
        """Build the module."""
        return DilatedAveragePool(geometry.dilation), in_channels


class Branch(NamedTuple):
    """A part of a mixed block.

    Attributes:
        trunk: Rows in sequence.
        ends: Rows that are applied to the trunk's output; their outputs are outputs of the block.
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


def _add(parent: nn.Module, row: Row, in_channels: int, geometry: Geometry) -> int:
    module, out_channels = row.build(in_channels, geometry)
    parent.add_module(row.name, module)
    return out_channels


class MixedBlock(nn.Module):
    """Branches over the same input, their outputs concatenated.

    Args:
        branches: The rows of the branches.
        in_channels: Channels of the input.
        geometry: The parameters of the stage.
    """

    def __init__(self, branches: tuple[Branch, ...], in_channels: int, geometry: Geometry):
        super().__init__()
        self.branches = branches
        self.out_channels = 0
        for branch in branches:
            channels = in_channels
            for row in branch.trunk:
                channels = _add(self, row, channels, geometry)
            for row in branch.ends:
                self.out_channels += _add(self, row, channels, geometry)

    def forward(self, x: Tensor) -> Tensor:
        """Compute: (N, in_channels, H, W) to (N, out_channels, H', W')."""
        outputs = []
        for branch in self.branches:
            y = x
            for row in branch.trunk:
                y = self.get_submodule(row.name)(y)
            outputs += [self.get_submodule(row.name)(y) for row in branch.ends]
        return torch.cat(outputs, 1)


def _chain(*rows: Row) -> Branch:
    return Branch(rows[:-1], rows[-1:])


def _mixed_5(name: str, pool_channels: int) -> Mixed:
    """Build Figure 5 of the paper, for maps of 35×35."""
    return Mixed(
        name,
        (
            _chain(Convolution("branch1x1", 64)),
            _chain(Convolution("branch5x5_1", 48), Convolution("branch5x5_2", 64, (5, 5))),
            _chain(
                Convolution("branch3x3dbl_1", 64),
                Convolution("branch3x3dbl_2", 96, (3, 3)),
                Convolution("branch3x3dbl_3", 96, (3, 3)),
            ),
            _chain(AveragePool("average"), Convolution("branch_pool", pool_channels)),
        ),
    )


def _mixed_6(name: str, channels: int) -> Mixed:
    """Build Figure 6 of the paper with n = 7, for maps of 17×17."""
    return Mixed(
        name,
        (
            _chain(Convolution("branch1x1", 192)),
            _chain(
                Convolution("branch7x7_1", channels),
                Convolution("branch7x7_2", channels, (1, 7)),
                Convolution("branch7x7_3", 192, (7, 1)),
            ),
            _chain(
                Convolution("branch7x7dbl_1", channels),
                Convolution("branch7x7dbl_2", channels, (7, 1)),
                Convolution("branch7x7dbl_3", channels, (1, 7)),
                Convolution("branch7x7dbl_4", channels, (7, 1)),
                Convolution("branch7x7dbl_5", 192, (1, 7)),
            ),
            _chain(AveragePool("average"), Convolution("branch_pool", 192)),
        ),
    )


def _mixed_7(name: str) -> Mixed:
    """Build Figure 7 of the paper, for maps of 8×8."""
    return Mixed(
        name,
        (
            _chain(Convolution("branch1x1", 320)),
            Branch(
                trunk=(Convolution("branch3x3_1", 384),),
                ends=(
                    Convolution("branch3x3_2a", 384, (1, 3)),
                    Convolution("branch3x3_2b", 384, (3, 1)),
                ),
            ),
            Branch(
                trunk=(
                    Convolution("branch3x3dbl_1", 448),
                    Convolution("branch3x3dbl_2", 384, (3, 3)),
                ),
                ends=(
                    Convolution("branch3x3dbl_3a", 384, (1, 3)),
                    Convolution("branch3x3dbl_3b", 384, (3, 1)),
                ),
            ),
            _chain(AveragePool("average"), Convolution("branch_pool", 192)),
        ),
    )


# The two blocks that halve the resolution: §5 and Figure 10 of the paper.
_MIXED_6A = Mixed(
    "Mixed_6a",
    (
        _chain(Convolution("branch3x3", 384, (3, 3), halves=True, padded=False)),
        _chain(
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3), halves=True, padded=False),
        ),
        _chain(MaximumPool("maximum")),
    ),
)
_MIXED_7A = Mixed(
    "Mixed_7a",
    (
        _chain(
            Convolution("branch3x3_1", 192),
            Convolution("branch3x3_2", 320, (3, 3), halves=True, padded=False),
        ),
        _chain(
            Convolution("branch7x7x3_1", 192),
            Convolution("branch7x7x3_2", 192, (1, 7)),
            Convolution("branch7x7x3_3", 192, (7, 1)),
            Convolution("branch7x7x3_4", 192, (3, 3), halves=True, padded=False),
        ),
        _chain(MaximumPool("maximum")),
    ),
)

# Table 1 of the paper, split where the resolution changes. The first row of a stage has its stride.
_STEM = (
    Convolution("Conv2d_1a_3x3", 32, (3, 3), halves=True, padded=False),
    Convolution("Conv2d_2a_3x3", 32, (3, 3), padded=False),
    Convolution("Conv2d_2b_3x3", 64, (3, 3)),
)
_STAGES = (
    (
        MaximumPool("maxpool1"),
        Convolution("Conv2d_3b_1x1", 80),
        Convolution("Conv2d_4a_3x3", 192, (3, 3), padded=False),
    ),
    (
        MaximumPool("maxpool2"),
        _mixed_5("Mixed_5b", 32),
        _mixed_5("Mixed_5c", 64),
        _mixed_5("Mixed_5d", 64),
    ),
    (
        _MIXED_6A,
        _mixed_6("Mixed_6b", 128),
        _mixed_6("Mixed_6c", 160),
        _mixed_6("Mixed_6d", 160),
        _mixed_6("Mixed_6e", 192),
    ),
    (_MIXED_7A, _mixed_7("Mixed_7b"), _mixed_7("Mixed_7c")),
)


class Inception(Backbone):
    """Inception-V3, without its classifiers.

    The maps are those before each halving of the resolution, named after the row that outputs them: the last
    convolution before the mixed blocks, at stride 4, and the last block of each size.

    By default every layer is padded, because RoIAlign and dilation need exact strides. The paper's padding is an
    option of `InceptionConfig`. Padding and output stride change neither names nor shapes of tensors.

    Args:
        config: The row to build.
        in_channels: Channels of the input images.
        output_stride: 32, 16 or 8: stride of the last map. Blocks that would go beyond it keep
            their resolution, and convolutions and pools after them dilate instead
            (https://arxiv.org/abs/1606.00915).

    Raises:
        UserError: An output stride other than 32 was requested without padding.
    """

    input_size = 299

    def __init__(self, config: InceptionConfig, *, in_channels: int, output_stride: int):
        super().__init__()
        plans = plan_stages(
            [_STRIDE] * len(_STAGES), stem_stride=_STEM_STRIDE, output_stride=output_stride
        )
        if config.valid_padding and plans[-1].dilation != 1:
            raise UserError(
                f"output stride {output_stride} of Inception is built with padding only; "
                "leave out the suffix -valid, or take the output stride 32"
            )
        undilated = Geometry(_STRIDE, 1, config.valid_padding, config.width_factor)
        channels = in_channels
        for row in _STEM:
            channels = _add(self, row, channels, undilated)
        self.aligned = not config.valid_padding
        self.feature_info = []
        for rows, plan in zip(_STAGES, plans, strict=True):
            first = undilated._replace(stride=plan.stride, dilation=plan.first_dilation)
            for index, row in enumerate(rows):
                geometry = first if index == 0 else first._replace(dilation=plan.dilation)
                channels = _add(self, row, channels, geometry)
            self.feature_info.append(Feature(rows[-1].name, channels, plan.output_stride))

    def forward(self, x: Tensor, maps: int | None = None) -> list[Tensor]:
        """Compute the maps of the four stages.

        Args:
            x: Float images of shape (N, in_channels, H, W), normalised; H and W at least 1, or at
                least 75 without padding.
            maps: Stop after this many maps; None computes all.

        Returns:
            Four float maps, or the first of them, described by `feature_info`; without padding they are a few
            locations smaller than the image divided by their stride.
        """
        for row in _STEM:
            x = self.get_submodule(row.name)(x)
        features = []
        for rows in _STAGES[:maps]:
            for row in rows:
                x = self.get_submodule(row.name)(x)
            features.append(x)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """List the stem and the four stages."""
        return [[self.get_submodule(row.name) for row in rows] for rows in (_STEM, *_STAGES)]
