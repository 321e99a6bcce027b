"""Size and cost of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Count the trainable and frozen parameters of a module; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, image_size: tuple[int, int], *, in_channels: int = 3) -> int:
    """Count the multiply-adds of the convolutions and matrix products for one image.

    This is what "Bag of Tricks" (https://arxiv.org/abs/1812.01187, Table 5) calls FLOPs. Shapes
    alone are computed, so that it takes no memory worth the name and well under a second.

    Args:
        module: The network; it is left as it is.
        image_size: Height and width of the image.
        in_channels: Channels of the image.

    Returns:
        The number of multiply-adds of one forward pass.
    """
    # Evaluation mode, because batch statistics of a single cell are an error in training mode.
    shapes_only = copy.deepcopy(module).to("meta").eval()
    image = torch.empty(1, in_channels, *image_size, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shapes_only(image)
    # The counter takes a multiply-add for two operations.
    return counter.get_total_flops() // 2
