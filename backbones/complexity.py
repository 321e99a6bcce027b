"""Size and cost of a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torchvision  # noqa: F401  # registers torch.ops.torchvision
from torch import Size, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Count the trainable and frozen parameters of a module; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, image_size: tuple[int, int], *, in_channels: int = 3) -> int:
    """Count the multiply-adds of the convolutions and matrix products for one image.

    This is what "Bag of Tricks" (https://arxiv.org/abs/1812.01187, Table 5) calls FLOPs. Shapes
    alone are computed, so that it takes no memory worth the name and well under a second. A
    deformable convolution counts as the plain one plus the one that predicts its offsets, without
    the interpolation, as pooling and normalisation do not count either.

    Args:
        module: The network; it is left as it is.
        image_size: Height and width of the image.
        in_channels: Channels of the image.

    Returns:
        The number of multiply-adds of one forward pass.
    """
    image = torch.empty(1, in_channels, *image_size, device="meta")
    return multiply_adds_of(module, lambda network: network(image))


def multiply_adds_of(module: nn.Module, run: Callable[[nn.Module], object]) -> int:
    """Count the multiply-adds of whatever is run on a network, by the rules of `multiply_adds`.

    Args:
        module: The network; it is left as it is.
        run: Called once with a copy on torch's device "meta", in evaluation mode; what it feeds the
            copy has to lie there too.

    Returns:
        The number of multiply-adds of the call.

    Raises:
        RuntimeError: What is run depends on values, which there are none of on that device.
    """
    # Evaluation mode, because batch statistics of a single cell are an error in training mode.
    shapes_only = copy.deepcopy(module).to("meta").eval()
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with torch.no_grad(), counter:
        run(shapes_only)
    # The counter takes a multiply-add for two operations.
    return counter.get_total_flops() // 2


def _deformable_operations(
    _x: Size, weight: Size, *_rest: object, out_shape: Size, **_more: object
) -> int:
    """Count operations from the shapes of the arguments of ``deform_conv2d`` and of its output."""
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


# What torch's counter does not know would count as nothing.
_FORMULAS = {torch.ops.torchvision.deform_conv2d: _deformable_operations}
