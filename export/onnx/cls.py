"""A classifier as an ONNX graph: images to logits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import cls_train.train  # noqa: F401  (registers the types in configs)
from cls_train.classifier import ImageClassifier
from datasets.images import read_rgb
from engine.image_folder import build_pipeline
from export.onnx.command import Export, main
from export.onnx.file import Arrays, ExportSpec, relative
from export.onnx.preprocessing import Normalise
from export.onnx.run import TrainedRun


class ClassifierGraph(nn.Module):
    """Images to logits.

    Args:
        model: The trained classifier.
    """

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        trained: Any = model.data_preprocessor
        self.normalise = Normalise(trained.mean, trained.std, "RGB")
        self.backbone = model.backbone
        self.head = model.head

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """`(N, 3, H, W)` RGB, 0 to 255, to logits `(N, K)`."""
        return (self.head(self.backbone(self.normalise(images))[-1].mean(dim=(2, 3))),)


class ClassifierExport(Export):
    """The export of a classification run."""

    task = "cls"
    scope = "mmengine"
    # The teacher is not part of the classifier.
    changes: ClassVar[dict[str, Any]] = dict(distillation=None)

    def spec(self, run: TrainedRun, model: nn.Module) -> ExportSpec:
        """Return the graph; its batch and image size vary if the backbone allows it."""
        assert isinstance(model, ImageClassifier)
        metadata = {"outputs": {"logits": "N×K, before the softmax"}}
        artifact = run.result["artifacts"].get("backbone")
        if artifact is not None and (run.work_dir / artifact).is_file():
            # The pretrained checkpoint was written from the evaluated network.
            report = model.backbone.verify(str(run.work_dir / artifact))
            metadata["handoff_sha256"] = report.sha256
        graph = ClassifierGraph(model)

        def reference(images: Tensor) -> Arrays:
            inputs = model.data_preprocessor({"inputs": images})["inputs"]
            return (model(inputs, mode="tensor").numpy(),)

        return ExportSpec(
            graph,
            ("logits",),
            reference,
            lambda expected, found: [relative("logits", expected[0], found[0])],
            dynamic=(("batch", "height", "width"), ("batch",), ()),
            metadata={**metadata, **graph.normalise.metadata()},
        )

    def load(self, run: TrainedRun, path: Path) -> Tensor:
        """Return an image `(1, 3, H, W)` uint8, RGB, after the run's test transforms."""
        steps = run.config.val_dataloader.dataset.dataset.pipeline
        return build_pipeline(steps)(read_rgb(path))[None].to(torch.uint8)


EXPORT = ClassifierExport()

if __name__ == "__main__":
    sys.exit(main(export=EXPORT))
