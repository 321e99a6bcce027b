"""Faster R-CNN without FPN (C4): a single map at stride 16, and the backbone's last stage as RoI head.

Sources: Ren et al., 1506.01497; He et al., 1512.03385, appendix A; Detectron's and GluonCV's "C4" models.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.detectors import FasterRCNN
from mmengine.registry import MODELS
from torch import Tensor, nn

from contract.errors import UserError
from engine.adapter import TransferBackbone


class LastStage(nn.Module):
    """The last stage of a backbone, applied to RoI features; its weights belong to the backbone.

    If they were also registered here, a checkpoint would contain them twice under two names.
    """

    def __init__(self, backbone: TransferBackbone) -> None:
        super().__init__()
        self._stage = (backbone.net.stages()[-1],)
        self._require_chain(backbone)

    def _require_chain(self, backbone: TransferBackbone) -> None:
        """Raise unless the stage's modules in sequence compute the last map from the previous one."""
        net = backbone.net
        was_training = net.training
        net.eval()
        try:
            with torch.no_grad():
                *_, before, last = net(torch.rand(1, 3, 64, 64))
                fits = torch.allclose(self(before), last, rtol=1e-4, atol=1e-5)
        except (RuntimeError, TypeError, NotImplementedError, ValueError):
            fits = False
        finally:
            net.train(was_training)
        if not fits:
            raise UserError(
                f"the last stage of {backbone.spec} cannot stand alone, as the C4 detector's RoI head needs it to; "
                "take the detector with FPN (voc0712 or mini)"
            )

    def forward(self, features: Tensor) -> Tensor:
        """Convert RoI features `(R, C, 14, 14)` to `(R, C', 7, 7)`."""
        for module in self._stage[0]:
            features = module(features)
        return features


@MODELS.register_module()
class FasterRCNNC4(FasterRCNN):
    """mmdet's Faster R-CNN with the last stage of the backbone, its weights and freezing included, as RoI head."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.roi_head.shared_head = LastStage(self.backbone)
        # For `engine.runner.unused_parameters`. A tuple is not registered as a part of the model.
        self.parts_in_heads = (*self.roi_head.shared_head._stage[0],)
