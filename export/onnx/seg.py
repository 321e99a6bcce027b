"""A segmentor as an ONNX graph: images to logits and label maps of the same size."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import numpy as np
import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn
from torch.nn import functional

import seg.train  # noqa: F401  (registers the types in configs)
from export.onnx.command import Export, main
from export.onnx.file import Arrays, Difference, ExportSpec, relative
from export.onnx.preprocessing import Normalise
from export.onnx.run import TrainedRun


class SegmentorGraph(nn.Module):
    """Images to logits and labels of each pixel.

    Args:
        model: The trained segmentor.
    """

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        trained: Any = model.data_preprocessor
        # Images are read as BGR.
        order = "RGB" if trained.channel_conversion else "BGR"
        self.normalise = Normalise(trained.mean, trained.std, order)
        self.backbone = model.backbone
        self.head = model.decode_head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, 3, H, W)` RGB, 0 to 255, to logits `(N, K, H, W)` and labels `(N, H, W)`."""
        maps = self.head(self.backbone(self.normalise(images)))
        logits = functional.interpolate(
            maps, images.shape[2:], mode="bilinear", align_corners=self.head.align_corners
        )
        return logits, logits.argmax(dim=1)


class SegmentorExport(Export):
    """The export of a segmentation run."""

    task = "seg"
    scope = "mmseg"
    # The graph computes one window; the auxiliary head is only for training.
    changes: ClassVar[dict[str, Any]] = dict(test_cfg=dict(mode="whole"))

    def spec(self, run: TrainedRun, model: nn.Module) -> ExportSpec:
        """Return the graph; its batch and image size vary if the backbone allows it."""
        assert isinstance(model, EncoderDecoder)
        graph = SegmentorGraph(model)

        def reference(images: Tensor) -> Arrays:
            bgr = list(images.flip(1))
            inputs = model.data_preprocessor({"inputs": bgr})["inputs"]
            found: Any = model.predict(inputs)
            logits = torch.stack([sample.seg_logits.data for sample in found])
            labels = torch.cat([sample.pred_sem_seg.data for sample in found])
            return logits.numpy(), labels.numpy()

        return ExportSpec(
            graph,
            ("logits", "labels"),
            reference,
            compare,
            dynamic=(("batch", "height", "width"), ("batch",), ()),
            metadata={
                "outputs": {
                    "logits": "N×K×H×W, before the softmax, at the size of the image",
                    "labels": "N×H×W, the class of the largest logit",
                },
                "window": run.config.model.test_cfg.to_dict(),
                **graph.normalise.metadata(),
            },
        )

    def notes(self, run: TrainedRun) -> list[str]:
        """Return a note if the run was evaluated with sliding windows, which the file does not implement."""
        test = run.config.model.test_cfg
        if test.mode == "whole":
            return []
        return [
            f"the run was evaluated in sliding windows of {test.crop_size} every {test.stride} pixels (height, width) "
            "whose logits were averaged; the file computes one window: slide it yourself"
        ]


def compare(expected: Arrays, found: Arrays) -> list[Difference]:
    """Compare logits by value, and labels by the gap between the expected logit of the found class and the largest.

    Classes with equal logits are equally correct.
    """
    chosen = np.take_along_axis(expected[0], found[1][:, None], axis=1)
    shortfall = float((expected[0].max(axis=1, keepdims=True) - chosen).max())
    scale = max(1.0, float(np.abs(expected[0]).max()))
    return [relative("logits", expected[0], found[0]), Difference("labels", shortfall / scale)]


EXPORT = SegmentorExport()

if __name__ == "__main__":
    sys.exit(main(export=EXPORT))
