"""The classifier: a backbone, global average pooling and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

import backbones
from cls_train.losses import cross_entropy


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """A backbone with a linear classifier on its last stage's mean feature.

    Args:
        backbone: Config of a `TransferBackbone`.
        num_classes: K.
        targets: Config of the module that makes distributions from labels.
        mixing: Configs of modules that mix a batch, applied in order.
        initialisation: A scheme of `backbones.initialise`, for backbone and classifier.
        zero_gamma: Start the last batch norm of every residual block at γ = 0 (paper §3.1).
        data_preprocessor: Config of mmengine's image normalisation.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_classes: int,
        targets: dict[str, Any],
        mixing: Sequence[dict[str, Any]] = (),
        initialisation: str = "xavier_uniform",
        zero_gamma: bool = False,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        self.backbone = MODELS.build(backbone)
        self.head = nn.Linear(self.backbone.feature_info[-1].channels, num_classes)
        self.num_classes = num_classes
        self.targets = MODELS.build(targets)
        self.mixing = nn.ModuleList(MODELS.build(config) for config in mixing)
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
            mode: `'tensor'` returns logits `(N, K)`; `'loss'` a dict with the loss; `'predict'` the list of
                the true classes' ranks, 0 being the top.
        """
        if mode == "loss":
            assert labels is not None
            targets = self.targets(labels, self.num_classes)
            for mix in self.mixing:
                inputs, targets = mix(inputs, targets)
            return {"loss": cross_entropy(self._logits(inputs), targets)}
        logits = self._logits(inputs)
        if mode == "tensor":
            return logits
        assert labels is not None
        return rank_of_truth(logits, labels).tolist()

    def _logits(self, inputs: Tensor) -> Tensor:
        return self.head(self.backbone(inputs)[-1].mean(dim=(2, 3)))


def rank_of_truth(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the true one, `(N,)`; of equal logits the lower index comes first.

    A score that is not a number counts as the worst, so that a broken network never looks right.
    """
    logits = logits.float()
    truth = logits.gather(1, labels[:, None])
    indices = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    tied_before = (logits == truth) & (indices < labels[:, None])
    beaten = truth.isnan() & (indices != labels[:, None])
    return ((logits > truth) | tied_before | beaten).sum(dim=1)
