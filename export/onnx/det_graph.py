"""Faster R-CNN as a graph of tensors: mmdet's `predict` for one image, without lists and branches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision
from mmdet.models.detectors import FasterRCNN
from torch import Tensor, nn
from torch.nn import functional

from contract.errors import UserError
from det.quality_head import QualityBBoxHead
from export.onnx.preprocessing import Normalise

# mmdet's limit on the scaling of a box (`wh_ratio_clip` of `delta2bbox`).
_LARGEST_LOG_SCALE = abs(math.log(16 / 1000))


class DetectorGraph(nn.Module):
    """One image to detections.

    It uses the trained network's modules and re-implements only mmdet's selection of boxes.

    Args:
        model: The trained detector, with a pyramid (FPN) or with the last stage as RoI head (C4).

    Raises:
        UserError: The detector's test config needs a feature that the graph does not support, such as soft NMS.
    """

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        _require_known(model)
        trained: Any = model.data_preprocessor
        # Images are read as BGR.
        order = "RGB" if trained._channel_conversion else "BGR"
        self.normalise = Normalise(trained.mean, trained.std, order)
        self.divisor: int = trained.pad_size_divisor
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(1, 3, H, W)` RGB, 0 to 255, to boxes `(D, 4)` in its pixels, scores `(D,)` and labels `(D,)`."""
        height, width = images.shape[2:]
        maps = self.model.extract_feat(self._padded(self.normalise(images)))
        boxes = self._proposals(maps, (height, width))
        return self._detections(maps, boxes, (height, width))

    def _padded(self, x: Tensor) -> Tensor:
        """Pad `(1, 3, H, W)` at the right and bottom with zeros to a multiple of the divisor."""
        height, width = x.shape[2:]
        counts: list[Any] = [
            # `item` makes new symbols. Otherwise the sizes of all maps become formulas in H and W, on which the
            # exporter spends minutes. The dividend is positive because ONNX rounds towards zero, and Python down.
            torch.scalar_tensor((side + self.divisor - 1) // self.divisor, dtype=torch.int64).item()
            for side in (height, width)
        ]
        rows, columns = counts
        for count in counts:
            torch._check(count >= 1)
        return functional.pad(
            x, (0, columns * self.divisor - width, 0, rows * self.divisor - height)
        )

    def _proposals(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the RPN's boxes `(P, 4)`, best first (mmdet's `RPNHead._predict_by_feat_single`)."""
        head = self.model.rpn_head
        test = head.test_cfg
        logits, deltas = head(maps)
        sizes = [values.shape[2:] for values in logits]
        anchors = head.prior_generator.grid_priors(sizes, device=deltas[0].device)
        kept = []
        for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
            scores = logit[0].permute(1, 2, 0).reshape(-1).sigmoid()
            delta = delta[0].permute(1, 2, 0).reshape(-1, 4)
            scores, best = scores.topk(torch.sym_min(scores.shape[0], test.nms_pre))
            kept.append((scores, anchor[best], delta[best], torch.full_like(scores, level)))
        scores, anchors, deltas, levels = (torch.cat(parts) for parts in zip(*kept, strict=True))
        boxes = decode(head.bbox_coder, anchors, deltas, size)
        sides = boxes[:, 2:] - boxes[:, :2]
        valid = (sides > test.min_bbox_size).all(dim=1).nonzero()[:, 0]
        boxes = boxes[valid]
        keep = suppress(boxes, scores[valid], levels[valid], test.nms.iou_threshold)
        return boxes[keep[: test.max_per_img]]

    def _pooled(self, maps: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes, ordered by their pyramid level, and their features `(P, C, size, size)`."""
        extractor = self.model.roi_head.bbox_roi_extractor
        layers = extractor.roi_layers
        if len(layers) == 1:
            return boxes, _align(layers[0], maps[0], boxes)
        width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
        scale = (width * height).sqrt() / extractor.finest_scale + 1e-6
        # floor(log2(scale)), in 0 to the last level, without a logarithm, whose rounding differs between libraries.
        level = torch.zeros_like(scale, dtype=torch.int64)
        for number in range(1, len(layers)):
            level = level + (scale >= 2**number).long()
        groups = [boxes[(level == number).nonzero()[:, 0]] for number in range(len(layers))]
        pooled = [
            _align(layer, values, group)
            # Only the RPN uses the pyramid's coarsest map.
            for layer, values, group in zip(layers, maps[: len(layers)], groups, strict=True)
        ]
        return torch.cat(groups), torch.cat(pooled)

    def _detections(
        self, maps: Sequence[Tensor], boxes: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the RoI head's boxes, scores and labels, best first (mmdet's `BBoxHead._predict_by_feat_single`)."""
        roi_head = self.model.roi_head
        head, test = roi_head.bbox_head, roi_head.test_cfg
        boxes, pooled = self._pooled(maps, boxes)
        if roi_head.with_shared_head:
            pooled = roi_head.shared_head(pooled)
        logits, deltas = head(pooled)
        chosen, scores = class_scores(head, logits)
        count = head.num_classes
        each = boxes[:, None].expand(boxes.shape[0], count, 4).reshape(-1, 4)
        if head.reg_class_agnostic:
            deltas = deltas[:, None].expand(deltas.shape[0], count, 4)
        found = decode(head.bbox_coder, each, deltas.reshape(-1, 4), size)
        labels = torch.arange(count, device=boxes.device).expand(boxes.shape[0], count).reshape(-1)
        candidates = (chosen.reshape(-1) > test.score_thr).nonzero()[:, 0]
        found, labels = found[candidates], labels[candidates]
        scores = scores.reshape(-1)[candidates]
        keep = suppress(found, scores, labels, test.nms.iou_threshold)[: test.max_per_img]
        return found[keep], scores[keep], labels[keep]


def class_scores(head: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores that select candidates, and the scores that rank them, each `(P, K)`."""
    if not isinstance(head, QualityBBoxHead):
        scores = logits.softmax(dim=1)[:, :-1]
        return scores, scores
    classes, quality = head._split(logits)
    scores = classes.softmax(dim=1)[:, :-1]
    return scores, head._rated(scores, quality) if quality else scores


def decode(coder: Any, boxes: Tensor, deltas: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes `(P, 4)` moved by deltas `(P, 4)` and clipped to an image of `(height, width)` pixels.

    x = x_a + w_a d_x and w = w_a exp(d_w) (1506.01497, §3.1.2; mmdet's `delta2bbox`).
    """
    moved = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    sides = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5 + sides * moved[:, :2]
    bound = _LARGEST_LOG_SCALE
    half = sides * moved[:, 2:].clamp(-bound, bound).exp() * 0.5
    x1, y1 = (centre - half).unbind(1)
    x2, y2 = (centre + half).unbind(1)
    height, width = size
    return torch.stack(
        [x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=1
    )


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes that non-maximum suppression within each group keeps, best first.

    As in mmcv's `batched_nms`, an offset larger than any coordinate separates the groups.
    """
    # The zero is for the case of no boxes.
    apart = torch.cat([boxes.reshape(-1), boxes.new_zeros(1)]).max() + 1
    return torchvision.ops.nms(boxes + groups.to(boxes)[:, None] * apart, scores, iou_threshold)


def _align(layer: Any, values: Tensor, boxes: Tensor) -> Tensor:
    """Return RoIAlign features of boxes `(P, 4)` from a map `(1, C, H, W)`."""
    rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
    return torchvision.ops.roi_align(
        values, rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
    )


def _require_known(model: FasterRCNN) -> None:
    """Raise if the detector's `predict` needs a feature that the graph does not support.

    Raises:
        UserError: A feature is not supported.
    """
    rpn, head = model.rpn_head, model.roi_head.bbox_head
    extractor = model.roi_head.bbox_roi_extractor
    problems = [f"model.{name}.nms={dict(nms)}" for name, nms in _other_nms(model).items()]
    if not rpn.use_sigmoid_cls or rpn.num_classes != 1:
        problems.append("an RPN whose score is no sigmoid")
    if rpn.test_cfg.nms_pre <= 0 or rpn.test_cfg.max_per_img <= 0:
        problems.append("model.test_cfg.rpn without nms_pre and max_per_img")
    if model.roi_head.test_cfg.max_per_img <= 0:
        problems.append("model.test_cfg.rcnn without max_per_img")
    if head.custom_cls_channels:
        problems.append(f"loss_cls of type {type(head.loss_cls).__name__}")
    for coder in (rpn.bbox_coder, head.bbox_coder):
        if type(coder).__name__ != "DeltaXYWHBBoxCoder" or coder.add_ctr_clamp:
            problems.append(f"the box coder {type(coder).__name__}")
        elif not coder.clip_border:
            problems.append("boxes that are not cut to the image")
    if any(layer.pool_mode != "avg" for layer in extractor.roi_layers):
        problems.append("RoIAlign that takes the maximum")
    if problems:
        raise UserError(
            f"the detector cannot be exported: the graph has no {'; '.join(problems)}; it has NMS by an IoU threshold, "
            "softmax scores and mmdet's stock box coder"
        )


def _other_nms(model: FasterRCNN) -> dict[str, Mapping[str, Any]]:
    """Return the entries of the test config that are not plain NMS."""
    found = {
        "test_cfg.rpn": model.rpn_head.test_cfg.nms,
        "test_cfg.rcnn": model.roi_head.test_cfg.nms,
    }
    return {
        name: nms
        for name, nms in found.items()
        if nms.get("type", "nms") != "nms" or set(nms) - {"type", "iou_threshold"}
    }
