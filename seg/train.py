"""`python -m seg.train CONFIG …`: train FCN on a dataset in the ADE20K layout."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmseg.models.utils import resize
from mmseg.utils import register_all_modules
from PIL import Image
from torch import Tensor
from torch.nn import functional

from backbones import Feature
from contract.result import Metric
from engine.dense.task import DenseTask
from engine.task import run_process
from seg import assemble, dataset, heads, labels, metric, multi_scale
from seg.examples import draw_label_maps
from seg.labelled_features import location_features

# The metrics of `multi_scale` have the suffix `_ms`.
METRICS = ("pixacc", "miou", "macc")

register_all_modules(init_default_scope=False)


class Segmentation(DenseTask):
    """Pixel accuracy and mean IoU of FCN on a given backbone."""

    name = "seg"
    scope = "mmseg"
    modules = (dataset, heads, labels, metric)
    labelled_features = staticmethod(location_features)
    keys = frozenset({"image_scale", "resize_range", "crop_size", "multi_scale", "sliding"})
    # Every training image is cropped to the same size; test images keep theirs.
    one_shape = True
    absent_classes = "{count} class(es) are not labelled in the test images, and count 0 where they are predicted"

    def wire_data(self, config: Config, root: Path) -> int:
        """See `seg.assemble`."""
        return assemble.wire_data(config, root)

    def choose_maps(self, model: ConfigDict) -> None:
        """See `seg.assemble`."""
        assemble.choose_maps(model)

    def wire_heads(self, config: Config, features: list[Feature], classes: int) -> None:
        """See `seg.assemble`."""
        assemble.wire_heads(config, features, classes)

    def test_protocol(self, config: Config) -> dict[str, str]:
        """Return the metric and how images were tested."""
        return {
            "metric": "PixAcc and mIoU over labelled pixels; a class neither labelled nor predicted is left out",
            "test": self.describe_test(config, _window(config), f"no flip{_scales(config)}"),
        }

    def describe_backbone(self, config: Config) -> str:
        """Return the output stride and what was trained."""
        stride = config.model.backbone.output_stride
        return f"output stride {stride}, {super().describe_backbone(config)}"

    def further_metrics(self, runner: Any) -> list[Metric]:
        """Return the same three metrics at several scales, if the config enables them."""
        settings = runner.cfg.get("multi_scale")
        if settings is None:
            return []
        found = multi_scale.evaluate(runner, settings)
        return [Metric(name=f"{name}_ms", value=100 * getattr(found, name)) for name in METRICS]

    def further_test_work(self, config: Config) -> float:
        """Return the work of the tests at several scales: that of each grows with its pixels."""
        settings = config.get("multi_scale")
        if settings is None:
            return 0.0
        return sum(scale**2 for scale in settings["scales"]) * (2 if settings["flip"] else 1)

    def infer(self, model: Any, image: Tensor) -> object:
        """Run the segmentor without its auxiliary head, which only training needs, on every window."""
        test = model.test_cfg
        if test.mode == "whole":
            return model(image)
        # The same number and size of windows as in mmseg's `slide_inference`.
        sides = tuple(image.shape[-2:])
        windows = math.prod(
            max(side - crop + step - 1, 0) // step + 1
            for side, crop, step in zip(sides, test.crop_size, test.stride, strict=True)
        )
        height, width = map(min, sides, test.crop_size)
        return [model(image[..., :height, :width]) for _ in range(windows)]

    def loss_of_shapes(self, model: Any, images: Tensor) -> Tensor:
        """Return the cross-entropy of all heads at the size of the images."""
        found = model.extract_feat(images)
        labels = torch.zeros(len(images), *images.shape[2:], dtype=torch.long, device=images.device)
        loss = images.new_zeros(())
        for head in filter(None, (model.decode_head, model.auxiliary_head)):
            logits = resize(
                head(found), labels.shape[1:], mode="bilinear", align_corners=head.align_corners
            )
            loss = loss + functional.cross_entropy(logits, labels)
        return loss

    def draw(
        self, image: Image.Image, sample: Any, metainfo: Mapping[str, Any]
    ) -> list[Image.Image]:
        """Return the image, the predicted and the true label map."""
        return draw_label_maps(image, sample, metainfo)


def _window(config: Config) -> str:
    test = config.model.test_cfg
    if test.mode == "whole":
        return "whole image"
    (height, width), (down, right) = test.crop_size, test.stride
    return f"sliding windows of {width}x{height} every {right}x{down} pixels"


def _scales(config: Config) -> str:
    settings = config.get("multi_scale")
    if settings is None:
        return ""
    flip = " and mirrored" if settings["flip"] else ""
    return (
        f"; _ms: mean probability over the scales {', '.join(map(str, settings['scales']))}{flip}"
    )


def command() -> int:
    """Run the command line and return the exit status."""
    return run_process(Segmentation())


if __name__ == "__main__":
    sys.exit(command())
