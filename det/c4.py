"""Faster R-CNN as it was before feature pyramids: one map at stride 16, and the backbone's last stage as RoI head.

Sources: Ren et al., 1506.01497; He et al., 1512.03385, appendix A; Detectron's and GluonCV's "C4" models.
"""

from __future__ import annotations

from typing import Any

from mmdet.models.detectors import FasterRCNN
from mmengine.registry import MODELS
from torch import Tensor, nn

from engine.adapter import TransferBackbone


class LastStage(nn.Module):
    """The last stage of a backbone, applied to RoI features; its weights stay the backbone's.

    Registering them here too would give each of them two names, of which a checkpoint would hold both.
    """

    def __init__(self, backbone: TransferBackbone) -> None:
        super().__init__()
        self._stage = (backbone.net.stages()[-1],)

    def forward(self, features: Tensor) -> Tensor:
        """RoI features `(R, C, 14, 14)` to `(R, C', 7, 7)`."""
        for module in self._stage[0]:
            features = module(features)
        return features


@MODELS.register_module()
class FasterRCNNC4(FasterRCNN):
    """mmdet's Faster R-CNN whose RoI head is the last stage of its own backbone, weights and freezing included."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.roi_head.shared_head = LastStage(self.backbone)
