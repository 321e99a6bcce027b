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

    This is what "Bag of Tricks" (https://arxiv.org/abs/1812.01187, Table 5) calls FLOPs. Only shapes are computed,
    which takes almost no memory and much less than a second. A deformable convolution counts as the plain convolution
    plus the one that predicts its offsets. Interpolation, pooling and normalisation do not count.

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
        run: Called once with a copy on torch's device "meta", in evaluation mode; its inputs must also be on that
            device.

    Returns:
        The number of multiply-adds of the call.

    Raises:
        RuntimeError: The call depends on values, which do not exist on that device.
    """
    # In training mode, batch norm raises for a single location.
    shapes_only = copy.deepcopy(module).to("meta").eval()
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with torch.no_grad(), counter:
        run(shapes_only)
    # The counter counts a multiply-add as two operations.
    return counter.get_total_flops() // 2


def _deformable_operations(
    _x: Size, weight: Size, *_rest: object, out_shape: Size, **_more: object
) -> int:
    """Count operations from the shapes of the arguments of `deform_conv2d` and of its output."""
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


# torch's counter ignores unknown operations.
_FORMULAS = {torch.ops.torchvision.deform_conv2d: _deformable_operations}
