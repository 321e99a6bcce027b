"""MobileNet-V1.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", Table 1, https://arxiv.org/abs/1704.04861.

Parameters are named as in timm's `mobilenetv1_100`, so public checkpoints can be loaded. The activation, which the
paper calls ReLU, is min(max(x, 0), 6), as in timm and in the authors' code,
https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from backbones.backbone import Backbone, Feature
from backbones.nets.layers import plan_stages, scaled

# Channels of the blocks, one row per resolution; the first row is part of the stem.
_STEM_CHANNELS = 32
_STEM_BLOCKS = (64,)
_STAGES = ((128, 128), (256, 256), (512,) * 6, (1024, 1024))
_STEM_STRIDE = 2
_STRIDE = 2


@dataclass(frozen=True)
class MobileNetConfig:
    """One row of the MobileNet family.

    Attributes:
        width_factor: Multiplies the channels of every layer: the paper's α (§3.3).
    """

    width_factor: float = 1.0


class DepthwiseSeparableBlock(nn.Module):
    """A 3×3 depthwise convolution followed by a 1×1 convolution (§3.1).

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Stride of the 3×3 convolution.
        dilation: Distance between its taps.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int, dilation: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(
            in_channels,
            in_channels,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=in_channels,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute: (N, in_channels, H, W) to (N, channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        x = self.relu(self.bn1(self.conv_dw(x)))
        return self.relu(self.bn2(self.conv_pw(x)))


class MobileNet(Backbone):
    """MobileNet-V1, without its classifier.

    The maps are those of the last block before each halving of the resolution, starting at stride 4. The output
    stride changes strides and dilations, but never names or shapes of tensors.

    Args:
        config: The row to build.
        in_channels: Channels of the input images.
        output_stride: 32, 16 or 8: stride of the last map. Stages that would go beyond it keep
            their resolution and dilate their 3×3 convolutions instead
            (https://arxiv.org/abs/1606.00915).
    """

    def __init__(self, config: MobileNetConfig, *, in_channels: int, output_stride: int):
        super().__init__()
        channels = scaled(_STEM_CHANNELS, config.width_factor)
        self.conv_stem = nn.Conv2d(
            in_channels, channels, 3, stride=_STEM_STRIDE, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU6(inplace=True)

        plans = plan_stages(
            (1, *(_STRIDE for _ in _STAGES)), stem_stride=_STEM_STRIDE, output_stride=output_stride
        )
        self.blocks = nn.Sequential()
        self.feature_info = []
        for index, (widths, plan) in enumerate(zip((_STEM_BLOCKS, *_STAGES), plans, strict=True)):
            stage = nn.Sequential()
            stride, dilation = plan.stride, plan.first_dilation
            for width in widths:
                in_width, channels = channels, scaled(width, config.width_factor)
                stage.append(
                    DepthwiseSeparableBlock(in_width, channels, stride=stride, dilation=dilation)
                )
                stride, dilation = 1, plan.dilation
            self.blocks.append(stage)
            if index > 0:
                self.feature_info.append(Feature(f"blocks.{index}", channels, plan.output_stride))

    def forward(self, x: Tensor, maps: int | None = None) -> list[Tensor]:
        """Compute the maps of the four stages.

        Args:
            x: Float images of shape (N, in_channels, H, W), normalised; H and W at least 1.
            maps: Stop after this many maps; None computes all.

        Returns:
            Four float maps, or the first of them, described by `feature_info`.
        """
        x = self.relu(self.bn1(self.conv_stem(x)))
        first, *stages = self.blocks
        x = first(x)
        features = []
        for stage in stages[:maps]:
            x = stage(x)
            features.append(x)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """List the stem, with the block before the first halving, and the four stages."""
        first, *stages = self.blocks
        return [[self.conv_stem, self.bn1, first], *([stage] for stage in stages)]
