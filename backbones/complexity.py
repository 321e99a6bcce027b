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
    alone are computed: it takes almost no memory and well under a second. A deformable convolution counts as the plain
    one plus the one that predicts its offsets. Interpolation, pooling and normalisation do not count.

    Args:
        module: The network; it is not changed.
        image_size: Height and width of the image.
        in_channels: Channels of the image.

    Returns:
        The number of multiply-adds of one forward pass.
    """
    image = torch.empty(1, in_channels, *image_size, device="meta")
    return multiply_adds_of(module, lambda network: network(image))


def multiply_adds_of(module: nn.Module, run: Callable[[nn.Module], object]) -> int:
    """Count the multiply-adds of a call on a network, by the rules of `multiply_adds`.

    Args:
        module: The network; it is not changed.
        run: Called once with a copy on torch's device "meta", in evaluation mode; its inputs have to be on that device
            too.

    Returns:
        The number of multiply-adds of the call.

    Raises:
        RuntimeError: The call depends on values, which that device does not have.
    """
    # In training mode, batch statistics of a single location are an error.
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


# torch's counter counts unknown operations as nothing.
_FORMULAS = {torch.ops.torchvision.deform_conv2d: _deformable_operations}
