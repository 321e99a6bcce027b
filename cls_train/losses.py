"""Target distributions and the loss of the classifier."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from backbones import UserError
from backbones.errors import unknown

OFF_TARGETS = ("paper", "uniform")


@MODELS.register_module()
class SmoothedTargets(nn.Module):
    """Labels as distributions over K classes (paper §5.2, Eq. 4; Szegedy et al. 2016).

    Args:
        epsilon: Probability taken from the true class, in [0, 1).
        off_target: `'paper'` spreads it over the K − 1 others; `'uniform'` over all K, as torch does.
    """

    def __init__(self, epsilon: float = 0.0, off_target: str = "paper") -> None:
        super().__init__()
        if not 0 <= epsilon < 1:
            raise UserError(f"label_smoothing epsilon={epsilon} was given; it must lie in [0, 1)")
        if off_target not in OFF_TARGETS:
            raise unknown("label_smoothing off_target", off_target, OFF_TARGETS)
        self.epsilon = epsilon
        self.off_target = off_target

    def forward(self, labels: Tensor, num_classes: int) -> Tensor:
        """Class indices `(N,)` to distributions `(N, K)` in float32."""
        one_hot = functional.one_hot(labels, num_classes).float()
        if self.off_target == "uniform":
            return torch.lerp(one_hot, torch.full_like(one_hot, 1 / num_classes), self.epsilon)
        if num_classes == 1:
            return one_hot
        return one_hot * (1 - self.epsilon) + (1 - one_hot) * (self.epsilon / (num_classes - 1))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of −Σ_k q_k log softmax(z)_k, in float32 also under autocast.

    Args:
        logits: `(N, K)`.
        targets: Distributions `(N, K)`.
    """
    return functional.cross_entropy(logits.float(), targets)
