"""Deformable convolutions: each tap of the kernel is read where the input says.

Version 1: Dai et al., https://arxiv.org/abs/1703.06211. Version 2, "modulated": Zhu et al.,
https://arxiv.org/abs/1811.11168. The compiled kernels are torchvision's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

_TAPS = 3 * 3


@dataclass(frozen=True)
class Deformation:
    """Which 3×3 convolutions of a network are deformable.

    Attributes:
        modulated: Version 2 (True) or version 1.
        stages: The stages, counted from 1, of which all are. By default those of version 2 (§3.1),
            conv3 to conv5.
    """

    modulated: bool
    stages: tuple[int, ...] = (2, 3, 4)


# Of what predicts offsets and masks in version 2 (§3.2); version 1 trains it as all else.
OFFSET_LR_MULTIPLIER = 0.1


class OffsetConv2d(nn.Conv2d):
    """The convolution that predicts offsets: it starts at zero, whatever the initialisation.

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

    y(p) = Σₖ wₖ · mₖ(p) · x(p + pₖ + Δpₖ(p)), where x is interpolated bilinearly and is 0 outside
    of the image. A convolution of the same geometry over the same input predicts Δp = (Δy, Δx) for
    each of the nine taps and, in version 2, the logit of m; in version 1, m is 1. ``weight`` is
    named as in a plain convolution; ``conv_offset`` and the order of its channels are mmcv's:
    Δy₁, Δx₁, …, Δy₉, Δx₉, then the nine of m.

    At the start all predictions are 0. Version 1 then is the plain convolution. In version 2,
    m = σ(0) = 0.5, as in the paper (§3.2), mmcv and detectron2, and the output is half the plain
    one, which the normalisation that follows takes out again. To double it, as some code does,
    would change what published weights compute.

    Everything is computed in float32, inside autocast too: offsets are positions in pixels, for
    which the eight bits of bfloat16 are too few.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the convolution.
        dilation: Distance between its taps before they are moved.
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
            x: A map of any float type; the weights are float32, as autocast leaves them.

        Returns:
            The output, of the type of ``x``.
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
    # Devices that compute shapes alone, where costs are counted, have no autocast to switch off.
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def predicts_modulated_offsets(parent: nn.Module, child: nn.Module, name: str) -> bool:
    """Tell whether a module is what mmcv and detectron2 call `conv_offset` in a convolution of version 2.

    Args:
        parent: The deformable convolution; it may state its `deform_groups`.
        child: One of its children.
        name: The child's.
    """
    groups = getattr(parent, "deform_groups", 1)
    return (
        name == "conv_offset"
        and isinstance(child, nn.Conv2d)
        and child.out_channels == 3 * _TAPS * groups
    )
