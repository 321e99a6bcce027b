"""A RoI head that also predicts the IoU of its boxes and the objectness."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from contract.errors import UserError


@MODELS.register_module()
class QualityBBoxHead(Shared2FCBBoxHead):
    """mmdet's head with two optional sigmoid outputs that change the score, and with losses in float32.

    The additional outputs are additional rows of `fc_cls`, on the shared feature; in `cls_score` their logits follow
    those of the K classes and the background. In a test, a box with the class score s has

        score = (s · o)^(1 − α) · u^α

    with the objectness o and the predicted IoU u; a missing output counts as 1 (and α as 0). `score_thr` is applied
    to s, so the candidates are those of the stock head and only their order changes.

    Losses are computed in float32 even under autocast: bfloat16 has no number between 1 and 1.0078, but the width of
    a decoded box is the RoI's width times exp of an output near 0.

    Args:
        loss_iou: The loss of u against the IoU of the decoded box with its ground truth, over object RoIs; the target
            has no gradient. None leaves out this output. (Wu et al., 1912.05992; PP-YOLO, 2007.12099.)
        iou_alpha: α, in 0 to 1.
        loss_objectness: The loss of o against 1 for object RoIs and 0 for the background, over all sampled RoIs. None
            leaves out this output. (YOLOv3, 1804.02767.)
        arguments: Arguments of mmdet's `Shared2FCBBoxHead`.

    Raises:
        UserError: α is out of range, or the classification loss adds outputs, like Seesaw loss.
    """

    def __init__(
        self,
        loss_iou: ConfigDict | None = None,
        iou_alpha: float = 0.4,
        loss_objectness: ConfigDict | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if not 0 <= iou_alpha <= 1:
            raise UserError(f"QualityBBoxHead got iou_alpha={iou_alpha}; it must lie in 0 to 1")
        if self.custom_cls_channels:
            raise UserError(
                f"QualityBBoxHead got loss_cls of type {type(self.loss_cls).__name__}, which brings outputs of its "
                "own; use a softmax loss, such as CrossEntropyLoss, or mmdet's Shared2FCBBoxHead"
            )
        self.iou_alpha = iou_alpha
        losses = {"iou": loss_iou, "objectness": loss_objectness}
        self.quality_losses = {n: MODELS.build(loss) for n, loss in losses.items() if loss}
        if self.quality_losses:
            predictor = dict(
                self.cls_predictor_cfg,
                in_features=self.cls_last_dim,
                out_features=self.num_classes + 1 + len(self.quality_losses),
            )
            self.fc_cls = MODELS.build(predictor)

    def _split(self, cls_score: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the class logits `(R, K + 1)`, and the logits `(R,)` of each additional output."""
        classes = cls_score[:, : self.num_classes + 1]
        further = cls_score[:, self.num_classes + 1 :].unbind(1)
        return classes, dict(zip(self.quality_losses, further, strict=True))

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Return the stock losses, `loss_iou` and `loss_objectness`.

        Args:
            cls_score: `(R, K + 1 + further outputs)` logits.
            bbox_pred: `(R, 4 K)` deltas, or `(R, 4)` if they are class-agnostic.
            rois: `(R, 5)` image number and corners in pixels.
            labels: `(R,)`, K for the background.
            label_weights: `(R,)`.
            bbox_targets: `(R, 4)` deltas, or corners in pixels if `reg_decoded_bbox` is on.
            bbox_weights: `(R, 4)`.
            reduction_override: As in mmdet.
        """
        classes, quality = self._split(cls_score.float())
        deltas = bbox_pred.float()
        targets = (rois, labels, label_weights, bbox_targets, bbox_weights)
        losses = super().loss(classes, deltas, *targets, reduction_override)
        objects = (labels >= 0) & (labels < self.num_classes)
        if "iou" in quality:
            overlap = self._overlap(deltas, rois, labels, bbox_targets, objects)
            losses["loss_iou"] = self.quality_losses["iou"](
                quality["iou"][objects],
                overlap,
                avg_factor=max(len(overlap), 1),
                reduction_override=reduction_override,
            )
        if "objectness" in quality:
            losses["loss_objectness"] = self.quality_losses["objectness"](
                quality["objectness"],
                objects.long(),
                label_weights,
                avg_factor=max(int((label_weights > 0).sum()), 1),
                reduction_override=reduction_override,
            )
        return losses

    @torch.no_grad()
    def _overlap(
        self, deltas: Tensor, rois: Tensor, labels: Tensor, bbox_targets: Tensor, objects: Tensor
    ) -> Tensor:
        """Return the IoU `(P,)` of the P object RoIs' decoded boxes (of the true class) with the ground truth."""
        count = int(objects.sum())
        column = labels.new_zeros(count) if self.reg_class_agnostic else labels[objects]
        own = deltas[objects].view(count, deltas.shape[1] // 4, 4)
        own = own[torch.arange(count, device=own.device), column]
        truth = bbox_targets[objects]
        starts = rois[objects, 1:]
        boxes = get_box_tensor(self.bbox_coder.decode(starts, own))
        if not self.reg_decoded_bbox:
            truth = get_box_tensor(self.bbox_coder.decode(starts, truth))
        return bbox_overlaps(boxes, truth, is_aligned=True)

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict[str, Any],
        rescale: bool = False,
        rcnn_test_cfg: Any = None,
    ) -> InstanceData:
        """Return the detections of one image: the stock head's boxes with the changed scores, after NMS.

        Args:
            roi: `(R, 5)` image number and corners in pixels.
            cls_score: `(R, K + 1 + further outputs)` logits.
            bbox_pred: `(R, 4 K)` or `(R, 4)` deltas.
            img_meta: Shape and scale of the image.
            rescale: Return boxes in pixels of the file.
            rcnn_test_cfg: Threshold and NMS; if None, all boxes and scores are returned.
        """
        classes, quality = self._split(cls_score)
        stock = super()._predict_by_feat_single
        if not quality or len(roi) == 0:
            return stock(roi, classes, bbox_pred, img_meta, rescale, rcnn_test_cfg)
        found: Any = stock(roi, classes, bbox_pred, img_meta, rescale, None)
        scores = self._rated(found.scores, quality)
        if rcnn_test_cfg is None:
            found.scores = scores
            return found
        candidates = torch.where(found.scores > rcnn_test_cfg.score_thr, scores, 0.0)
        boxes, labels = multiclass_nms(  # pyright: ignore[reportAssignmentType]
            found.bboxes, candidates, 0.0, rcnn_test_cfg.nms, rcnn_test_cfg.max_per_img
        )
        return InstanceData(bboxes=boxes[:, :4], scores=boxes[:, 4], labels=labels)

    def _rated(self, scores: Tensor, quality: dict[str, Tensor]) -> Tensor:
        """Return (s · o)^(1 − α) · u^α for class scores `(R, K + 1)` and logits `(R,)` of o and u."""
        if "objectness" in quality:
            scores = scores * quality["objectness"].sigmoid()[:, None]
        if "iou" in quality:
            overlap = quality["iou"].sigmoid()[:, None]
            scores = scores ** (1 - self.iou_alpha) * overlap**self.iou_alpha
        return scores
