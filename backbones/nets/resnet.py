"""ResNet and the tweaks B, C and D of "Bag of Tricks for Image Classification with CNNs".

He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385.
He et al., "Bag of Tricks …", §4 and Table 5, https://arxiv.org/abs/1812.01187. The table stacks
the tweaks, so that C contains B, and D contains C:

======  ===================================================================================
plain   The first 1×1 convolution of a bottleneck has the stride.
B       The 3×3 convolution has the stride. torchvision and MMDetection's `pytorch` style
        call this one ResNet-50. Basic blocks have no 1×1 convolution; with them plain and B
        are the same network.
C       The 7×7 convolution of the stem becomes three 3×3 convolutions.
D       The shortcut averages 2×2 pixels, then convolves 1×1 at stride 1: it skips no
        activation.
======  ===================================================================================

Squeeze-and-excitation and deformable convolutions may be added to each; see their modules.

Parameters are named as in torchvision, or as in timm for the parts that torchvision does not have (the C stem, the D
shortcut, squeeze-and-excitation), so public checkpoints can be loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from backbones.backbone import Backbone, Feature
from backbones.nets.layers import (
    DeformableConv2d,
    Deformation,
    SqueezeExcitation,
    StagePlan,
    plan_stages,
)

_STEM_STRIDE = 4
_STRIDES = (1, 2, 2, 2)


@dataclass(frozen=True)
class ResNetConfig:
    """One row of the ResNet family.

    Attributes:
        blocks: Number of residual blocks of each of the four stages.
        bottleneck: Blocks of 1×1, 3×3, 1×1 convolutions (True) or of two 3×3 ones.
        stride_in_3x3: Tweak B; it has no effect on basic blocks.
        deep_stem: Tweak C.
        average_shortcut: Tweak D.
        squeeze_excitation: Add squeeze-and-excitation at the end of each residual branch.
        deformation: Which 3×3 convolutions are deformable; None for none.
        width: Channels of the stem and of the 3×3 convolutions of the first stage; every other
            width is a multiple of it.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    stride_in_3x3: bool = False
    deep_stem: bool = False
    average_shortcut: bool = False
    squeeze_excitation: bool = False
    deformation: Deformation | None = None
    width: int = 64

    @property
    def expansion(self) -> int:
        """Output channels of a block divided by the channels of its 3×3 convolution."""
        return 4 if self.bottleneck else 1


class Convolution3x3(Protocol):
    """A constructor of the 3×3 convolutions of a stage, plain or deformable."""

    def __call__(
        self, in_channels: int, channels: int, /, *, stride: int = 1, dilation: int = 1
    ) -> nn.Conv2d:
        """Build one: (N, in_channels, H, W) to (N, channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        ...


class ResidualBlock(nn.Module, ABC):
    """A residual branch added to a shortcut; the base of the blocks below.

    Args:
        shortcut: The projection of the input, or None for the identity.
        squeeze_excitation: Scales the channels of the residual branch; None for none.
    """

    def __init__(self, shortcut: nn.Module | None, squeeze_excitation: nn.Module | None):
        super().__init__()
        self.downsample = shortcut
        self.se = squeeze_excitation
        self.relu = nn.ReLU(inplace=True)

    @property
    @abstractmethod
    def last_norm(self) -> nn.BatchNorm2d:
        """The last normalisation of the residual branch, whose γ the trick zero γ sets to 0."""

    @abstractmethod
    def residual(self, x: Tensor) -> Tensor:
        """Compute the residual branch: (N, C, H, W) to (N, C', H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual branch to the shortcut: (N, C, H, W) to (N, C', H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = self.residual(x)
        if self.se is not None:
            residual = self.se(residual)
        return self.relu(residual + shortcut)


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions.

    Args:
        in_channels: Channels of the input.
        width: Channels of both convolutions, and therefore of the output.
        stride: Stride of the first convolution.
        dilations: Dilation of the first and of the second 3×3 convolution.
        convolution: Their constructor.
        shortcut: The projection of the input, or None for the identity.
        squeeze_excitation: Scales the channels of the residual branch; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        dilations: tuple[int, int],
        convolution: Convolution3x3,
        shortcut: nn.Module | None,
        squeeze_excitation: nn.Module | None,
    ):
        super().__init__(shortcut, squeeze_excitation)
        self.conv1 = convolution(in_channels, width, stride=stride, dilation=dilations[0])
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, dilation=dilations[1])
        self.bn2 = nn.BatchNorm2d(width)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The second normalisation."""
        return self.bn2

    def residual(self, x: Tensor) -> Tensor:
        """Compute the residual branch: (N, C, H, W) to (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(ResidualBlock):
    """A 1×1, a 3×3 and a 1×1 convolution.

    Args:
        in_channels: Channels of the input.
        width: Channels of the 3×3 convolution; the output has four times as many.
        stride: Stride of the block.
        stride_in_3x3: Whether the 3×3 convolution (tweak B) or the first 1×1 has the stride.
        dilation: Dilation of the 3×3 convolution.
        convolution: Constructor of the 3×3 convolution.
        shortcut: The projection of the input, or None for the identity.
        squeeze_excitation: Scales the channels of the residual branch; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        stride_in_3x3: bool,
        dilation: int,
        convolution: Convolution3x3,
        shortcut: nn.Module | None,
        squeeze_excitation: nn.Module | None,
    ):
        super().__init__(shortcut, squeeze_excitation)
        stride_1x1, stride_3x3 = (1, stride) if stride_in_3x3 else (stride, 1)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride=stride_1x1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, stride=stride_3x3, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The third normalisation."""
        return self.bn3

    def residual(self, x: Tensor) -> Tensor:
        """Compute the residual branch: (N, C, H, W) to (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class ResNet(Backbone):
    """ResNet; its variants are instances of `ResNetConfig`.

    The output stride changes strides and dilations, but never names or shapes of tensors, so a checkpoint fits all
    output strides.

    Args:
        config: The row to build.
        in_channels: Channels of the input images.
        output_stride: 32, 16 or 8: stride of the last map. Stages that would go beyond it keep
            their resolution and dilate their 3×3 convolutions instead
            (https://arxiv.org/abs/1606.00915).
    """

    def __init__(self, config: ResNetConfig, *, in_channels: int, output_stride: int):
        super().__init__()
        self.conv1 = _stem_convolution(config, in_channels)
        self.bn1 = nn.BatchNorm2d(config.width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        self.feature_info = []
        channels = config.width
        plans = plan_stages(_STRIDES, stem_stride=_STEM_STRIDE, output_stride=output_stride)
        for index, plan in enumerate(plans):
            name = f"layer{index + 1}"
            self.add_module(name, _make_stage(config, index, channels, plan))
            channels = config.width * 2**index * config.expansion
            self.feature_info.append(Feature(name, channels, plan.output_stride))

    def forward(self, x: Tensor, maps: int | None = None) -> list[Tensor]:
        """Compute the maps of the four stages.

        Args:
            x: Float images of shape (N, in_channels, H, W), normalised; H and W at least 1.
            maps: Stop after this many maps; None computes all.

        Returns:
            Four float maps, or the first of them, described by `feature_info`.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for feature in self.feature_info[:maps]:
            x = self.get_submodule(feature.name)(x)
            features.append(x)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """List the stem and the four stages."""
        stem = [self.conv1, self.bn1]
        return [stem, *([self.get_submodule(feature.name)] for feature in self.feature_info)]


def _conv3x3(in_channels: int, channels: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


def _stem_convolution(config: ResNetConfig, in_channels: int) -> nn.Module:
    """Build the convolution before `bn1`: (N, in_channels, H, W) to (N, width, H/2, W/2)."""
    if not config.deep_stem:
        return nn.Conv2d(in_channels, config.width, 7, stride=2, padding=3, bias=False)
    half = config.width // 2
    return nn.Sequential(
        _conv3x3(in_channels, half, stride=2),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        _conv3x3(half, half),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        _conv3x3(half, config.width),
    )


def _make_stage(
    config: ResNetConfig, index: int, in_channels: int, plan: StagePlan
) -> nn.Sequential:
    """Build stage `index` (0 to 3): (N, in_channels, H, W) to (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
    channels = config.width * 2**index * config.expansion
    shortcut = None
    if plan.stride != 1 or in_channels != channels:
        shortcut = _shortcut(config, in_channels, channels, plan.stride)
    blocks = [_make_block(config, index, in_channels, plan, shortcut)]
    later = plan._replace(stride=1, first_dilation=plan.dilation)
    for _ in range(config.blocks[index] - 1):
        blocks.append(_make_block(config, index, channels, later, None))
    return nn.Sequential(*blocks)


def _make_block(
    config: ResNetConfig, index: int, in_channels: int, plan: StagePlan, shortcut: nn.Module | None
) -> ResidualBlock:
    width = config.width * 2**index
    convolution = _convolution3x3(config, index)
    squeeze_excitation = (
        SqueezeExcitation(width * config.expansion) if config.squeeze_excitation else None
    )
    if not config.bottleneck:
        return BasicBlock(
            in_channels,
            width,
            stride=plan.stride,
            dilations=(plan.first_dilation, plan.dilation),
            convolution=convolution,
            shortcut=shortcut,
            squeeze_excitation=squeeze_excitation,
        )
    return Bottleneck(
        in_channels,
        width,
        stride=plan.stride,
        stride_in_3x3=config.stride_in_3x3,
        # If the 1×1 has the stride, the input of the 3×3 convolution is like that of later blocks.
        dilation=plan.first_dilation if config.stride_in_3x3 else plan.dilation,
        convolution=convolution,
        shortcut=shortcut,
        squeeze_excitation=squeeze_excitation,
    )


def _convolution3x3(config: ResNetConfig, index: int) -> Convolution3x3:
    """Return the constructor of the 3×3 convolutions of stage `index` (0 to 3)."""
    deformation = config.deformation
    if deformation is None or index + 1 not in deformation.stages:
        return _conv3x3
    return partial(DeformableConv2d, modulated=deformation.modulated)


def _shortcut(config: ResNetConfig, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Build the projection of a shortcut: (N, in_channels, H, W) to (N, channels, H', W')."""
    norm = nn.BatchNorm2d(channels)
    if not config.average_shortcut:
        return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), norm)
    # `ceil_mode` keeps the odd last row and column, like the residual branch. At stride 1, an identity replaces the
    # pool and keeps the names of the parameters.
    pool = (
        nn.Identity()
        if stride == 1
        else nn.AvgPool2d(2, stride=stride, ceil_mode=True, count_include_pad=False)
    )
    return nn.Sequential(pool, nn.Conv2d(in_channels, channels, 1, bias=False), norm)
