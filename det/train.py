"""`python -m det.train CONFIG …`: train Faster R-CNN on a dataset in the layout of Pascal VOC or COCO."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from PIL import Image
from torch import Tensor

from backbones import Feature
from det import assemble, c4, dataset, focal_loss, metric, quality_head, roi_extractor
from det.examples import draw_detections
from det.labelled_features import object_features
from engine.dense.task import DenseTask
from engine.task import run_process

register_all_modules(init_default_scope=False)
DETECTORS = {
    "FasterRCNN": "Faster R-CNN with FPN",
    "FasterRCNNC4": "Faster R-CNN, C4 (the backbone's last stage as RoI head)",
}


class Detection(DenseTask):
    """Mean average precision of Faster R-CNN on a given backbone."""

    name = "det"
    scope = "mmdet"
    modules = (c4, dataset, focal_loss, metric, quality_head, roi_extractor)
    labelled_features = staticmethod(object_features)
    keys = frozenset({"image_scale", "train_scales", "box_min_size"})
    absent_classes = "means leave out {count} class(es) without an object in the test images"

    def wire_data(self, config: Config, root: Path) -> int:
        """See `det.assemble`."""
        return assemble.wire_data(config, root)

    def wire_heads(self, config: Config, features: list[Feature], classes: int) -> None:
        """See `det.assemble`."""
        assemble.wire_heads(config, features, classes)

    def test_protocol(self, config: Config) -> dict[str, str]:
        """Return the metric, the detector and the image scale."""
        return {
            "metric": f"{metric.MODES[config.val_evaluator.eval_mode]} at IoU 0.5, "
            "difficult objects ignored",
            "detector": DETECTORS[config.model.type],
            "test": self.describe_test(config, "no flip"),
        }

    def infer(self, model: Any, image: Tensor) -> object:
        """Run backbone, neck and RPN, then the RoI head on as many regions as the test config allows.

        The real number depends on the image; pooling does not count, because it has no matrix product.
        """
        features = model.extract_feat(image)
        model.rpn_head(features)
        head = model.roi_head
        extractor = head.bbox_roi_extractor
        regions = image.new_empty(
            model.test_cfg.rpn.max_per_img,
            extractor.out_channels,
            *extractor.roi_layers[0].output_size,
        )
        return head.bbox_head(head.shared_head(regions) if head.with_shared_head else regions)

    def loss_of_shapes(self, model: Any, images: Tensor) -> Tensor:
        """Return the sum of all outputs, with as many regions as the head's sampler draws.

        Assigning boxes to anchors depends on values; its tensors are small beside the maps.
        """
        found = model.extract_feat(images)
        outputs = [output for level in model.rpn_head(found) for output in level]
        head = model.roi_head
        extractor = head.bbox_roi_extractor
        regions = found[0].new_empty(
            len(images) * model.train_cfg.rcnn.sampler.num,
            extractor.out_channels,
            *extractor.roi_layers[0].output_size,
            dtype=torch.float32,
            requires_grad=True,
        )
        outputs += head.bbox_head(head.shared_head(regions) if head.with_shared_head else regions)
        return sum((output.float().sum() for output in outputs), start=images.new_zeros(()))

    def draw(
        self, image: Image.Image, sample: Any, metainfo: Mapping[str, Any]
    ) -> list[Image.Image]:
        """Return pictures of the detections and of the ground truth."""
        return draw_detections(image, sample, metainfo)


def command() -> int:
    """Run the command line and return the exit status."""
    return run_process(Detection())


if __name__ == "__main__":
    sys.exit(command())
