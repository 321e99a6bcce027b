"""The focal loss for mutually exclusive classes."""

from __future__ import annotations

import functools
from typing import Any

import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor
from torch.nn import functional

from contract.errors import UserError


@MODELS.register_module()
class FocalCrossEntropyLoss(CrossEntropyLoss):
    """−α_t (1 − p_t)^γ log p_t with p_t the softmax probability of the true class (Lin et al., 1708.02002, Eq. 5).

    mmdet's `FocalLoss` uses a sigmoid per class. The stock RoI head is trained and tested with a softmax over K
    classes and, last, the background. Weights, averaging and ignored labels are as in mmdet's `CrossEntropyLoss`,
    which this loss equals for γ = 0 without α.

    Args:
        gamma: γ, at least 0.
        alpha: α_t of objects; the background has 1 − α. None uses the weight 1 for all.
        reduction: `'none'`, `'mean'` or `'sum'`.
        ignore_index: The label without loss.
        loss_weight: Factor on the loss.
        avg_non_ignore: Average over labels that are not ignored, if no `avg_factor` is given.

    Raises:
        UserError: γ or α is out of range.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        reduction: str = "mean",
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        if gamma < 0 or not (alpha is None or 0 <= alpha <= 1):
            raise UserError(
                f"FocalCrossEntropyLoss got gamma={gamma} and alpha={alpha}; gamma must be at least 0, and alpha None "
                "or in 0 to 1"
            )
        super().__init__(
            reduction=reduction,
            ignore_index=ignore_index,
            loss_weight=loss_weight,
            avg_non_ignore=avg_non_ignore,
        )
        self.cls_criterion = functools.partial(_focal_cross_entropy, gamma=gamma, alpha=alpha)


def _focal_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float,
    alpha: float | None,
    reduction: str,
    avg_factor: float | None,
    ignore_index: int | None,
    avg_non_ignore: bool,
    **_unused: Any,
) -> Tensor:
    """Return the loss of logits `(N, K + 1)`, the last of them the background's, and labels `(N,)` in 0..K."""
    ignore_index = -100 if ignore_index is None else ignore_index
    cross_entropy = functional.cross_entropy(
        pred.float(), label, reduction="none", ignore_index=ignore_index
    )
    # expm1 keeps 1 − p_t exact if p_t is near 1.
    loss = (-torch.expm1(-cross_entropy)) ** gamma * cross_entropy
    if alpha is not None:
        background = label == pred.shape[1] - 1
        loss = loss * torch.where(background, 1 - alpha, alpha)
    if avg_factor is None and avg_non_ignore and reduction == "mean":
        avg_factor = int((label != ignore_index).sum())
    weight = None if weight is None else weight.float()
    return weight_reduce_loss(loss, weight, reduction, avg_factor)
