"""Target distributions and losses of the classifier."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from contract.errors import UserError, unknown

OFF_TARGETS = ("paper", "uniform")


@MODELS.register_module()
class SmoothedTargets(nn.Module):
    """Labels as distributions over K classes (paper §5.2, Eq. 4; Szegedy et al. 2016).

    Args:
        epsilon: Probability taken from the true class, in [0, 1).
        off_target: `'paper'` spreads it over the K − 1 other classes; `'uniform'` over all K, as in torch.
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
        """Convert class indices `(N,)` to distributions `(N, K)` in float32."""
        one_hot = functional.one_hot(labels, num_classes).float()
        if self.off_target == "uniform":
            return torch.lerp(one_hot, torch.full_like(one_hot, 1 / num_classes), self.epsilon)
        if num_classes == 1:
            return one_hot
        return one_hot * (1 - self.epsilon) + (1 - one_hot) * (self.epsilon / (num_classes - 1))


# All losses take logits (N, K) and distributions (N, K), and compute in float32 even under autocast.


@MODELS.register_module()
class CrossEntropy(nn.Module):
    """Mean over the batch of −Σ_k q_k log softmax(z)_k (paper §5.2, Eq. 3)."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of logits `(N, K)` and distributions `(N, K)`."""
        return functional.cross_entropy(logits.float(), targets)


@MODELS.register_module()
class SoftmaxFocalLoss(nn.Module):
    """Mean over the batch of −Σ_k q_k (1 − p_k)^γ log p_k with p = softmax(z) (Lin et al., 1708.02002, §3).

    The paper defines it for sigmoids and labels of 0 or 1; for such labels, this is its loss of the true class.

    Args:
        gamma: γ ≥ 0; 0 gives the cross entropy.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            raise UserError(f"focal loss gamma={gamma} was given; it must be at least 0")
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of logits `(N, K)` and distributions `(N, K)`."""
        log_p = functional.log_softmax(logits.float(), dim=1)
        # 1 − p by expm1: for p near 1, the difference would lose precision and its power the gradient.
        modulation = (-torch.expm1(log_p)) ** self.gamma
        return -(targets * modulation * log_p).sum(dim=1).mean()


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the mean of T² ℓ(softmax(r / T), softmax(z / T)) with the cross entropy ℓ (paper §5.3).

    T² keeps the gradient's scale: it tends to ((z − mean z) − (r − mean r)) / K for large T (Hinton et al.,
    1503.02531, §2.1).

    Args:
        logits: The student's z, `(N, K)`.
        teacher_logits: The teacher's r, `(N, K)`; no gradient flows into them.
        temperature: T > 0.
    """
    soft = functional.softmax(teacher_logits.detach().float() / temperature, dim=1)
    return temperature**2 * functional.cross_entropy(logits.float() / temperature, soft)


@MODELS.register_module()
class WeightPenalty(nn.Module):
    """λ Σ|w| or λ/2 Σ w² over weights of convolutions and linear layers, that is, with more than one dimension.

    Args:
        power: 1 for L1, 2 for L2.
        weight: λ ≥ 0.
    """

    def __init__(self, power: int, weight: float) -> None:
        super().__init__()
        if power not in (1, 2):
            raise unknown("penalty power", str(power), ("1", "2"))
        if weight < 0:
            raise UserError(f"a penalty of weight {weight} was given; it must be at least 0")
        self.power = power
        self.weight = weight

    def forward(self, parameters: Iterable[Tensor]) -> Tensor:
        """Return the scalar penalty of all parameters of the network."""
        weights = [p for p in parameters if p.ndim > 1 and p.requires_grad]
        if self.power == 1:
            return self.weight * torch.stack([w.abs().sum() for w in weights]).sum()
        return self.weight / 2 * torch.stack([w.square().sum() for w in weights]).sum()
