"""`python -m det.train CONFIG …`: Faster R-CNN on a set in the Pascal VOC layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner

from det import (  # noqa: F401  (they register themselves)
    dataset,
    focal_loss,
    quality_head,
    roi_extractor,
)
from det.assemble import assemble
from det.examples import write_examples
from engine.averaging import measured_model, weights_in_words
from engine.result import Metric
from engine.stage import Job, Stage, main
from engine.transfer import batch_norm_policy

EXAMPLES = 4

register_all_modules(init_default_scope=False)
AVERAGE_PRECISION = {"11points": "VOC07 11-point AP", "area": "area AP"}


class Detection(Stage):
    """Mean average precision of Faster R-CNN on a given backbone."""

    name = "det"
    folder = Path(__file__).parent
    scope = "mmdet"

    def assemble(self, job: Job) -> Config:
        """See `det.assemble`."""
        return assemble(job)

    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """VOC's mAP at IoU 0.5, in percent; `mAP` is the value that mmdet does not round."""
        return [Metric("map", 100 * float(values["pascal_voc/mAP"]))]

    def protocol(self, config: Config) -> dict[str, str]:
        """The metric, the image scale and what was trained."""
        steps = config.val_dataloader.dataset.dataset.pipeline
        scale = next(step["scale"] for step in steps if step["type"] == "Resize")
        return {
            "metric": f"{AVERAGE_PRECISION[config.val_evaluator.eval_mode]} at IoU 0.5, "
            "difficult objects ignored",
            "test": f"single-scale {scale[0]}x{scale[1]}, no flip",
            "backbone": batch_norm_policy(config.model.backbone),
            "checkpoint": "last",
            **weights_in_words(config),
        }

    def finish(self, runner: Runner, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Draw detections."""
        model = measured_model(runner)
        test = runner.val_loop.dataloader.dataset
        folder = job.options.work_dir / "examples"
        names = write_examples(model, test, test.metainfo["classes"], folder, EXAMPLES)
        return {"examples": [f"examples/{name}" for name in names]}


if __name__ == "__main__":
    sys.exit(main(Detection()))
