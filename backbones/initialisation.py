"""Weight initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from backbones.nets.layers import OffsetConv2d
from backbones.nets.resnet import ResidualBlock
from contract.errors import unknown


def _xavier_uniform(weight: Tensor, fan_in: int, fan_out: int) -> None:
    deviation = math.sqrt(2 / (fan_in + fan_out))
    bound = math.sqrt(3) * deviation
    nn.init.uniform_(weight, -bound, bound)


def _kaiming_normal(weight: Tensor, _fan_in: int, fan_out: int) -> None:
    nn.init.normal_(weight, std=math.sqrt(2) / math.sqrt(fan_out))


_WEIGHT_SCHEMES: dict[str, Callable[[Tensor, int, int], None]] = {
    "xavier_uniform": _xavier_uniform,
    "kaiming_normal": _kaiming_normal,
}


def initialise(module: nn.Module, scheme: str = "xavier_uniform") -> None:
    """Initialise the weights of all convolutions and fully connected layers of a network, in place.

    Biases become 0; batch normalisation starts with γ = 1 and β = 0. Convolutions that predict the offsets of
    deformable convolutions stay 0 in every scheme.

    Args:
        module: The network.
        scheme: `"xavier_uniform"`: U[-a, a], a = √(6 / (d_in + d_out)), from "Bag of Tricks" §2.1
            (https://arxiv.org/abs/1812.01187), where d_in and d_out are channels times kernel area, as in Glorot and
            Bengio's paper and in MXNet, which the authors used. Channels are counted within a group: at each tap, a
            depthwise convolution has one input and one output. torch and MXNet would count all channels as outputs.
            `"kaiming_normal"`: N(0, 2 / d_out) for convolutions, as in torchvision's ResNet
            (https://arxiv.org/abs/1502.01852). The factor 2 compensates a ReLU, which does not follow a fully
            connected layer here. Fully connected layers therefore keep Xavier's scheme; with few classes, the formula
            would start their logits far from 0.

    Raises:
        UserError: The scheme is unknown.
    """
    if scheme not in _WEIGHT_SCHEMES:
        raise unknown("initialisation", scheme, _WEIGHT_SCHEMES)
    for layer in module.modules():
        if isinstance(layer, OffsetConv2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            last = isinstance(layer, nn.Linear)
            draw = _xavier_uniform if last else _WEIGHT_SCHEMES[scheme]
            draw(layer.weight, *_fans(layer))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.affine:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def _fans(layer: nn.Conv2d | nn.Linear) -> tuple[int, int]:
    """Return the inputs of one output unit, and the outputs of one input unit."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    outputs, inputs_of_group, *kernel = layer.weight.shape
    area = math.prod(kernel)
    return inputs_of_group * area, outputs // groups * area


def zero_gamma(module: nn.Module) -> int:
    """Set γ = 0 in the last normalisation of each residual block, so each block starts as its shortcut.

    Source: "Bag of Tricks" §3.1, https://arxiv.org/abs/1812.01187.

    Args:
        module: The network, changed in place.

    Returns:
        The number of residual blocks that were changed.
    """
    norms = [block.last_norm for block in module.modules() if isinstance(block, ResidualBlock)]
    for norm in norms:
        nn.init.zeros_(norm.weight)
    return len(norms)
