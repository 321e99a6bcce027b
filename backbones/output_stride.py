"""How the stages of a network keep to an output stride: they dilate instead of striding.

The à-trous way of https://arxiv.org/abs/1606.00915: once a stage gives up its stride of 2, every
convolution after that step has twice the distance between its taps, so that it still sees what it
saw in training, at each of the new positions too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contract.errors import UserError


class OutputStrideError(UserError):
    """A network cannot be built at the output stride that was asked for; it can at 32."""


class StagePlan(NamedTuple):
    """Strides and dilations of one stage.

    Attributes:
        stride: Stride of the first block.
        first_dilation: Dilation of the first block, which still sees its input at the dilation of
            the stage before.
        dilation: Dilation of the other blocks.
        output_stride: Input pixels per cell of the map that leaves the stage.
    """

    stride: int
    first_dilation: int
    dilation: int
    output_stride: int


def plan_stages(strides: Sequence[int], *, stem_stride: int, output_stride: int) -> list[StagePlan]:
    """Lay out the stages of a network so that no map is coarser than the output stride.

    Args:
        strides: Stride of each stage in the undilated network.
        stem_stride: Input pixels per cell of the map that enters the first stage.
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
