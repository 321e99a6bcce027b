"""Tricks that mix the images and labels of a batch."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones import UserError


@MODELS.register_module()
class Mixup(nn.Module):
    """Convex combinations of a batch with its own permutation (Zhang et al., 1710.09412; paper §5.4).

    Args:
        alpha: Parameter of the Beta(α, α) distribution of the weight λ, above 0.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        if not alpha > 0:
            raise UserError(f"mixup alpha={alpha} was given; it must be above 0 (the paper: 0.2)")
        self.beta = torch.distributions.Beta(alpha, alpha)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images `(N, C, H, W)` and target distributions `(N, K)` with one λ for the batch."""
        weight = self.beta.sample().item()
        partner = torch.randperm(len(images), device=images.device)
        return (
            weight * images + (1 - weight) * images[partner],
            weight * targets + (1 - weight) * targets[partner],
        )
