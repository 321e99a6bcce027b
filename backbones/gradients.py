"""Which parameters of a network its maps depend on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def without_gradient(network: nn.Module, maps: Sequence[Tensor]) -> list[str]:
    """Return the names of the trained parameters on which none of the maps depends."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if not trained:
        return []
    names, parameters = zip(*trained, strict=True)
    loss = torch.stack([values.square().mean() for values in maps]).sum()
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [name for name, gradient in zip(names, found, strict=True) if gradient is None]
