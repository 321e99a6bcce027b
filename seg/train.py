"""`python -m seg.train CONFIG …`: FCN on a set in the ADE20K layout."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.utils import register_all_modules
from torch import Tensor

from contract.errors import listed_names
from contract.files import write_json
from contract.result import EVALUATION_FILE, Metric
from engine import holdout
from engine.averaging import measured_model, weights_in_words
from engine.stage import Job, Stage, main
from engine.transfer import batch_norm_policy
from seg import dataset, labels, metric, multi_scale  # noqa: F401  (all but the last register themselves)
from seg.assemble import assemble
from seg.examples import write_examples
from seg.regions import cell_features

METRICS = ("pixacc", "miou", "macc")
EXAMPLES = 4

register_all_modules(init_default_scope=False)


class Segmentation(Stage):
    """Pixel accuracy and mean IoU of FCN on a given backbone."""

    name = "seg"
    folder = Path(__file__).parent
    scope = "mmseg"
    regions = staticmethod(cell_features)

    def assemble(self, job: Job) -> Config:
        """See `seg.assemble`."""
        return assemble(job)

    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """Pixel accuracy, mean IoU and mean class accuracy in percent."""
        return [Metric(name=name, value=100 * float(values[f"seg/{name}"])) for name in METRICS]

    def protocol(self, config: Config) -> dict[str, str]:
        """The metric, the image scale, the stride and what was trained."""
        tested = config.val_dataloader.dataset.dataset
        steps = tested.pipeline
        scale = next(step["scale"] for step in steps if step["type"] == "Resize")
        return {
            "metric": "PixAcc and mIoU over labelled pixels; a class neither labelled nor predicted is left out",
            "test": f"single-scale {scale[0]}x{scale[1]}, {_window(config)}, no flip{_scales(config)}"
            + holdout.in_words(tested.held_out),
            "backbone": f"output stride {config.model.backbone.output_stride}, "
            + batch_norm_policy(config),
            "checkpoint": "last",
            **weights_in_words(config),
        }

    def further_metrics(self, runner: Runner) -> list[Metric]:
        """The same three at several scales, where the config asks for them."""
        settings = runner.cfg.get("multi_scale")
        if settings is None:
            return []
        found = multi_scale.evaluate(runner, settings)
        return [Metric(name=f"{name}_ms", value=100 * getattr(found, name)) for name in METRICS]

    def notes(self, runner: Runner) -> list[str]:
        """The classes that no test image shows."""
        absent = runner.val_loop.evaluator.metrics[0].details["absent_classes"]
        if not absent:
            return []
        return [
            f"{len(absent)} class(es) are not labelled in the test images, and count 0 where they are predicted: "
            f"{listed_names(absent)}"
        ]

    def infer(self, model: Any, image: Tensor) -> object:
        """The segmentor without its auxiliary head, which only training needs, on every window."""
        test = model.test_cfg
        if test.mode == "whole":
            return model(image)
        # As many windows, and as large ones, as mmseg's `slide_inference` takes.
        sides = tuple(image.shape[-2:])
        windows = math.prod(
            max(side - crop + step - 1, 0) // step + 1
            for side, crop, step in zip(sides, test.crop_size, test.stride, strict=True)
        )
        height, width = map(min, sides, test.crop_size)
        return [model(image[..., :height, :width]) for _ in range(windows)]

    def finish(self, runner: Runner, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Draw label maps, and write what the means are made of."""
        (evaluator,) = runner.val_loop.evaluator.metrics
        write_json(job.options.work_dir / EVALUATION_FILE, evaluator.details)
        model = measured_model(runner)
        test = runner.val_loop.dataloader.dataset
        folder = job.options.work_dir / "examples"
        names = write_examples(model, test, test.metainfo["palette"], folder, EXAMPLES)
        return {"examples": [f"examples/{name}" for name in names], "evaluation": EVALUATION_FILE}


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


if __name__ == "__main__":
    sys.exit(main(Segmentation()))
