"""`python -m cls_train.export WORK_DIR --out FILE`: images to logits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import cls_train.train  # noqa: F401  (registers what a config names)
from cls_train.classifier import ImageClassifier
from cls_train.data import build_pipeline
from datasets.images import read_rgb
from engine.export.command import Export, main
from engine.export.finished import Finished
from engine.export.onnx_file import Arrays, Network, relative
from engine.export.preprocessing import Normalise


class ClassifierGraph(nn.Module):
    """Images to logits.

    Args:
        model: The trained classifier.
    """

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        trained = model.data_preprocessor
        self.normalise = Normalise(trained.mean, trained.std, "RGB")
        self.backbone = model.backbone
        self.head = model.head

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """`(N, 3, H, W)` RGB, 0 to 255, to logits `(N, K)`."""
        return (self.head(self.backbone(self.normalise(images))[-1].mean(dim=(2, 3))),)


class ClassifierExport(Export):
    """The classifier of a classification cell."""

    stage = "cls"
    package = "cls_train"
    scope = "mmengine"
    # The teacher is no part of the classifier.
    changes: ClassVar[dict[str, Any]] = dict(distillation=None)

    def network(self, finished: Finished, model: nn.Module) -> Network:
        """Logits, for images of any number and size where the backbone takes them."""
        assert isinstance(model, ImageClassifier)
        metadata = {"outputs": {"logits": "N×K, before the softmax"}}
        artifact = finished.result["artifacts"].get("backbone")
        if artifact is not None and (finished.work_dir / artifact).is_file():
            # The hand-off was made from the network that was evaluated.
            receipt = model.backbone.verify(str(finished.work_dir / artifact))
            metadata["handoff_sha256"] = receipt.sha256
        graph = ClassifierGraph(model)

        def reference(images: Tensor) -> Arrays:
            inputs = model.data_preprocessor({"inputs": images})["inputs"]
            return (model(inputs, mode="tensor").numpy(),)

        return Network(
            graph,
            ("logits",),
            reference,
            lambda expected, found: [relative("logits", expected[0], found[0])],
            dynamic=(("batch", "height", "width"), ("batch",), ()),
            metadata={**metadata, **graph.normalise.metadata()},
        )

    def load(self, finished: Finished, path: Path) -> Tensor:
        """An image `(1, 3, H, W)` uint8, RGB, by the cell's test transforms."""
        steps = finished.config.val_dataloader.dataset.dataset.pipeline
        return build_pipeline(steps)(read_rgb(path))[None].to(torch.uint8)


if __name__ == "__main__":
    sys.exit(main(ClassifierExport()))
