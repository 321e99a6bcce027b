"""mmseg's FCN head without the computation of a training accuracy that nothing reads."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from mmseg.models.decode_heads import FCNHead
from mmseg.models.utils import resize
from torch import Tensor, nn


@MODELS.register_module()
class LossOnlyFCNHead(FCNHead):
    """mmseg's `FCNHead`, of which training needs only the loss.

    The stock head also sorts the scores of every pixel in every iteration, to log the accuracy.
    """

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list[Any]) -> dict[str, Tensor]:
        """Return the loss at the labels' resolution.

        Args:
            seg_logits: `(N, K, h, w)`.
            batch_data_samples: mmseg's samples with labels `(1, H, W)`.
        """
        labels = self._stack_batch_gt(batch_data_samples)
        # The softmax over classes reads NCHW: of a channels-last map it would copy the large one.
        logits = resize(
            seg_logits.contiguous(),
            size=labels.shape[2:],
            mode="bilinear",
            align_corners=self.align_corners,
        )
        weight = None if self.sampler is None else self.sampler.sample(logits, labels)
        losses: dict[str, Tensor] = {}
        decode: Any = self.loss_decode
        parts: list[Any] = list(decode) if isinstance(decode, nn.ModuleList) else [decode]
        for loss in parts:
            value = loss(logits, labels.squeeze(1), weight=weight, ignore_index=self.ignore_index)
            name = loss.loss_name
            losses[name] = losses[name] + value if name in losses else value
        return losses
