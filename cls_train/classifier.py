"""The classifier: a backbone, global average pooling and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

import backbones
from contract.errors import UserError


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """A backbone with a linear classifier on the pooled features of the last stage.

    Args:
        backbone: Config of a `TransferBackbone`.
        num_classes: K.
        targets: Config of the module that converts labels to distributions.
        loss: Config of the loss against these distributions.
        mixing: Configs of modules that mix a batch, applied in order.
        distillation: Config of the distillation loss.
        penalties: Configs of loss terms that depend only on the parameters.
        dropout: Probability that a pooled feature becomes 0 in training, in [0, 1).
        initialisation: A scheme of `backbones.initialise`, for backbone and classifier.
        zero_gamma: Initialise the last batch norm of every residual block with γ = 0 (paper §3.1).
        data_preprocessor: Config of mmengine's image normalisation.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_classes: int,
        targets: dict[str, Any],
        loss: dict[str, Any],
        mixing: Sequence[dict[str, Any]] = (),
        distillation: dict[str, Any] | None = None,
        penalties: Sequence[dict[str, Any]] = (),
        dropout: float = 0.0,
        initialisation: str = "xavier_uniform",
        zero_gamma: bool = False,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        self.backbone = MODELS.build(backbone)
        self.head = nn.Linear(self.backbone.feature_info[-1].channels, num_classes)
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout} was given; it is a probability in [0, 1)")
        self.dropout = nn.Dropout(dropout)
        self.num_classes = num_classes
        self.targets = MODELS.build(targets)
        self.loss = MODELS.build(loss)
        self.mixing = nn.ModuleList(MODELS.build(config) for config in mixing)
        self.distillation = None if distillation is None else MODELS.build(distillation)
        self.penalties = nn.ModuleList(MODELS.build(config) for config in penalties)
        if not self.backbone.net.own_initialisation:
            backbones.initialise(self.backbone.net, initialisation)
        backbones.initialise(self.head, initialisation)
        if zero_gamma:
            backbones.zero_gamma(self.backbone.net)

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        data_samples: None = None,
        mode: str = "tensor",
    ) -> Any:
        """Run the classifier in one of mmengine's modes.

        Args:
            inputs: Normalised images `(N, 3, H, W)`.
            labels: Class indices `(N,)`; not needed for `mode='tensor'`.
            data_samples: Unused; mmengine's preprocessor adds it.
            mode: `'tensor'` returns logits `(N, K)`; `'loss'` a dict of loss terms; `'predict'` the list of the true
                classes' ranks, where 0 is the best.
        """
        if mode == "loss":
            assert labels is not None
            targets = self.targets(labels, self.num_classes)
            for mix in self.mixing:
                inputs, targets = mix(inputs, targets)
            return self.terms(inputs, targets)
        logits = self._logits(inputs)
        if mode == "tensor":
            return logits
        assert labels is not None
        return rank_of_truth(logits, labels).tolist()

    def terms(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the loss terms; mmengine adds all values with "loss" in their name.

        Args:
            inputs: Normalised images `(N, 3, H, W)`.
            targets: Class probabilities `(N, K)`.
        """
        logits = self._logits(inputs)
        terms = {"loss_label": self.loss(logits, targets)}
        if self.distillation is not None:
            terms["loss_label"] = self.distillation.label_weight * terms["loss_label"]
            terms["loss_teacher"] = self.distillation(logits, inputs)
        for penalty in self.penalties:
            terms[f"loss_l{penalty.power}"] = penalty(self.parameters())
        return terms

    def _logits(self, inputs: Tensor) -> Tensor:
        return self.head(self.dropout(self.backbone(inputs)[-1].mean(dim=(2, 3))))


def rank_of_truth(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the rank of the true class, `(N,)`, where 0 is the best; ties go to the lower index.

    NaN counts as the worst score, so a broken network is never counted as correct.
    """
    logits = logits.float()
    truth = logits.gather(1, labels[:, None])
    indices = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    tied_before = (logits == truth) & (indices < labels[:, None])
    beaten = truth.isnan() & (indices != labels[:, None])
    return ((logits > truth) | tied_before | beaten).sum(dim=1)
