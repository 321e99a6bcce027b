"""`python -m det.train CONFIG …`: Faster R-CNN on a set in the layout of Pascal VOC or COCO."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from contract.errors import listed_names
from contract.files import write_json
from contract.result import EVALUATION_FILE, Metric
from det import (  # noqa: F401  (they register themselves)
    c4,
    dataset,
    focal_loss,
    metric,
    quality_head,
    roi_extractor,
)
from det.assemble import assemble
from det.examples import write_examples
from det.regions import object_features
from engine import holdout
from engine.averaging import measured_model, weights_in_words
from engine.stage import Job, Stage, main
from engine.transfer import batch_norm_policy

EXAMPLES = 4
METRICS = ("map", "voc07_map", "voc10_map", "coco_ap", "coco_ap50", "coco_ap75")

register_all_modules(init_default_scope=False)
DETECTORS = {
    "FasterRCNN": "Faster R-CNN with FPN",
    "FasterRCNNC4": "Faster R-CNN, C4 (the backbone's last stage as RoI head)",
}


class Detection(Stage):
    """Mean average precision of Faster R-CNN on a given backbone."""

    name = "det"
    folder = Path(__file__).parent
    scope = "mmdet"
    regions = staticmethod(object_features)

    def assemble(self, job: Job) -> Config:
        """See `det.assemble`."""
        return assemble(job)

    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """All mean average precisions, in percent; `map` is the table's."""
        return [Metric(name=name, value=100 * float(values[f"det/{name}"])) for name in METRICS]

    def protocol(self, config: Config) -> dict[str, str]:
        """The metric, the image scale and what was trained."""
        tested = config.val_dataloader.dataset.dataset
        # Of held-out images there is a part for each split that is trained on.
        tested = tested.datasets[0] if "datasets" in tested else tested
        steps = tested.pipeline
        scale = next(step["scale"] for step in steps if step["type"] == "Resize")
        return {
            "metric": f"{metric.MODES[config.val_evaluator.eval_mode]} at IoU 0.5, "
            "difficult objects ignored",
            "detector": DETECTORS[config.model.type],
            "test": f"single-scale {scale[0]}x{scale[1]}, no flip"
            + holdout.in_words(tested.get("held_out")),
            "backbone": batch_norm_policy(config),
            "checkpoint": "last",
            **weights_in_words(config),
        }

    def notes(self, runner: Runner) -> list[str]:
        """The classes that no average counts."""
        absent = runner.val_loop.evaluator.metrics[0].details["absent_classes"]
        if not absent:
            return []
        return [
            f"means leave out {len(absent)} class(es) without an object in the test images: {listed_names(absent)}"
        ]

    def infer(self, model: Any, image: Tensor) -> object:
        """Backbone, neck and region proposals, then the RoI head on as many regions as the test config lets through.

        How many there really are depends on the image; pooling them takes no matrix product.
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

    def finish(self, runner: Runner, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Draw detections, and write what the averages are made of."""
        (evaluator,) = runner.val_loop.evaluator.metrics
        write_json(job.options.work_dir / EVALUATION_FILE, evaluator.details)
        model = measured_model(runner)
        test = runner.val_loop.dataloader.dataset
        folder = job.options.work_dir / "examples"
        names = write_examples(model, test, test.metainfo["classes"], folder, EXAMPLES)
        return {"examples": [f"examples/{name}" for name in names], "evaluation": EVALUATION_FILE}


if __name__ == "__main__":
    sys.exit(main(Detection()))
