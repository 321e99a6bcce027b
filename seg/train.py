"""`python -m seg.train CONFIG …`: FCN on a set in the ADE20K layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.utils import register_all_modules

from engine.averaging import measured_model, weights_in_words
from engine.result import Metric
from engine.stage import Job, Stage, main
from engine.transfer import batch_norm_policy
from seg import labels  # noqa: F401  (it registers itself)
from seg.assemble import assemble
from seg.examples import write_examples

EXAMPLES = 4

register_all_modules(init_default_scope=False)


class Segmentation(Stage):
    """Pixel accuracy and mean IoU of FCN on a given backbone."""

    name = "seg"
    folder = Path(__file__).parent
    scope = "mmseg"

    def assemble(self, job: Job) -> Config:
        """See `seg.assemble`."""
        return assemble(job)

    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """Pixel accuracy, mean IoU and mean class accuracy in percent."""
        return [
            Metric("pixacc", float(values["aAcc"])),
            Metric("miou", float(values["mIoU"])),
            Metric("macc", float(values["mAcc"])),
        ]

    def protocol(self, config: Config) -> dict[str, str]:
        """The metric, the image scale, the stride and what was trained."""
        steps = config.val_dataloader.dataset.dataset.pipeline
        scale = next(step["scale"] for step in steps if step["type"] == "Resize")
        return {
            "metric": "PixAcc and mIoU over labelled pixels; classes absent from the set are left out",
            "test": f"single-scale {scale[0]}x{scale[1]}, whole image, no flip",
            "backbone": f"output stride {config.model.backbone.output_stride}, "
            + batch_norm_policy(config.model.backbone),
            "checkpoint": "last",
            **weights_in_words(config),
        }

    def finish(self, runner: Runner, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Draw label maps."""
        model = measured_model(runner)
        test = runner.val_loop.dataloader.dataset
        folder = job.options.work_dir / "examples"
        names = write_examples(model, test, test.metainfo["palette"], folder, EXAMPLES)
        return {"examples": [f"examples/{name}" for name in names]}


if __name__ == "__main__":
    sys.exit(main(Segmentation()))
