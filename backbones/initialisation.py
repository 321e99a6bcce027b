"""How the weights of a network start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from backbones.errors import unknown
from backbones.resnet import ResidualBlock

_WEIGHT_SCHEMES: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "kaiming_normal": partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
}


def initialise(module: nn.Module, scheme: str = "xavier_uniform") -> None:
    """Draw the weights of all convolutions and fully connected layers of a network, in place.

    Biases become 0; batch normalisation starts with γ = 1 and β = 0.

    Args:
        module: The network.
        scheme: ``"xavier_uniform"``: U[-a, a], a = √(6 / (d_in + d_out)), from "Bag of Tricks" §2.1
            (https://arxiv.org/abs/1812.01187), where d_in and d_out are channels times kernel
            area, as in Glorot and Bengio's paper and in MXNet, which the authors used.
            ``"kaiming_normal"``: N(0, 2 / d_out), as torchvision's ResNet does for convolutions
            (https://arxiv.org/abs/1502.01852).

    Raises:
        UserError: If there is no such scheme.
    """
    if scheme not in _WEIGHT_SCHEMES:
        raise unknown("initialisation", scheme, _WEIGHT_SCHEMES)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _WEIGHT_SCHEMES[scheme](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.affine:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def zero_gamma(module: nn.Module) -> int:
    """Let every residual block start as its shortcut: γ = 0 in the last normalisation of each.

    Source: "Bag of Tricks" §3.1, https://arxiv.org/abs/1812.01187.

    Args:
        module: The network, changed in place.

    Returns:
        The number of blocks that it acted on: 0 for a network without residual blocks.
    """
    norms = [block.last_norm for block in module.modules() if isinstance(block, ResidualBlock)]
    for norm in norms:
        nn.init.zeros_(norm.weight)
    return len(norms)
