"""The base of dense tasks, such as detection and segmentation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config, ConfigDict
from PIL import Image

from backbones import Feature
from contract.errors import UserError, listed_names
from contract.files import write_json
from contract.result import EVALUATION_FILE, Metric
from engine import config as configs
from engine import holdout
from engine.dense.layer_decay import wire_layer_decay
from engine.dense.pictures import write_examples
from engine.dense.transfer import describe_batch_norm, wire_backbone
from engine.job import Job
from engine.normalisation import normalisation
from engine.runner.averaging import describe_weights, measured_model, wire_average
from engine.short_keys import OPTIMISER_KEYS
from engine.task import Task

EXAMPLES = 4
# Keys of engine/dense/configs/common.py and of every dense task's own config.
KEYS = frozenset(
    {
        *("ema", "holdout", "batch_norm", "frozen_backbone", "train_fraction", "layer_decay"),
        "device_batch_size",
        *OPTIMISER_KEYS,
    }
)


class DenseTask(Task):
    """A dense task on a pretrained backbone, with the tricks of `engine/dense/configs/tricks/`.

    Its configs inherit from `engine/dense/configs/common.py`, and from a config of mmdet or mmseg if there is one. Its
    only evaluator reports each of its metrics in `contract.tasks`, named `NAME/METRIC`: a fraction if the unit is
    percent, else a value in the unit. The evaluator also keeps `details`, a dict for `evaluation.json`; its
    `absent_classes` are the classes that no test image contains.

    Attributes:
        keys: Keys of the task's configs in addition to `KEYS` and those of mmengine's Runner.
        absent_classes: Note on the `{count}` classes that no test image contains.
    """

    keys: ClassVar[frozenset[str]] = frozenset()
    absent_classes: ClassVar[str]

    @abstractmethod
    def wire_data(self, config: Config, root: Path) -> int:
        """Set the datasets of a config, in place, and return the number of classes."""

    @abstractmethod
    def wire_heads(self, config: Config, features: list[Feature], classes: int) -> None:
        """Set the widths of neck and heads from the features and the classes, in place.

        Args:
            config: With the finished backbone in `config.model.backbone`.
            features: The feature maps that the backbone returns.
            classes: Number of classes.
        """

    @abstractmethod
    def test_protocol(self, config: Config) -> dict[str, str]:
        """Return how the task was tested: at least `metric` and `test`."""

    @abstractmethod
    def draw(
        self, image: Image.Image, sample: Any, metainfo: Mapping[str, Any]
    ) -> Sequence[Image.Image]:
        """Return pictures of one height: the prediction and the ground truth.

        Args:
            image: The image in the file.
            sample: The result of the model's `val_step`, with the ground truth.
            metainfo: The dataset's metainfo.
        """

    def choose_maps(self, model: ConfigDict) -> None:
        """Choose which maps the backbone returns, in place; by default those of the config."""
        return

    def assemble(self, job: Job) -> Config:
        """Return the Runner config: data, widths, normalisation and tricks."""
        config = self.load(job)
        classes = self.wire_data(config, job.options.data)
        self.choose_maps(config.model)
        features = wire_backbone(job, config)
        self.wire_heads(config, features, classes)
        config.model.data_preprocessor.update(normalisation(job))
        wire_layer_decay(config)
        wire_average(config)
        return config

    def load(self, job: Job) -> Config:
        """Return the config with tricks and overrides.

        Raises:
            UserError: A key has no effect, or `engine.config.load` refuses one.
        """
        options = job.options
        known = sorted(configs.runner_keys() | KEYS | self.keys)
        configs.check_file_keys(configs.find(self.configs, options.config, "config"), known)
        configs.check_override_keys(options.overrides, known)
        return configs.load(
            self.configs,
            options.config,
            options.tricks,
            options.overrides,
            trick_folders=self.trick_folders,
            short_keys=OPTIMISER_KEYS,
        )

    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """Return the task's metrics that the evaluator reports, fractions in percent.

        Raises:
            UserError: A value is not a finite number.
        """
        found = []
        for metric in self.entry.metrics:
            key = f"{self.name}/{metric.name}"
            if key not in values:
                continue
            if not math.isfinite(values[key]):
                raise UserError(
                    f"the validation gave {metric.label} {float(values[key])}, so the network no longer predicts "
                    "finite numbers; lower the learning rate, or lengthen the warm-up"
                )
            scale = 100 if metric.unit == "%" else 1
            found.append(
                Metric(
                    name=metric.name,
                    value=scale * float(values[key]),
                    unit=metric.unit,
                    higher_is_better=bool(metric.higher_is_better),
                )
            )
        return found

    def protocol(self, config: Config) -> dict[str, str]:
        """Return how the task was tested and which parts of the backbone were trained."""
        return {
            **self.test_protocol(config),
            "backbone": self.describe_backbone(config),
            "checkpoint": "last",
            **describe_weights(config),
        }

    def describe_backbone(self, config: Config) -> str:
        """Describe which parts of the backbone were trained."""
        return describe_batch_norm(config)

    def describe_test(self, config: Config, *details: str) -> str:
        """Describe at which size, and on which images, the task was tested.

        Args:
            config: The final config.
            details: Further facts about the test.
        """
        tested = config.val_dataloader.dataset.dataset
        # Each training split has its own held-out part.
        tested = tested.datasets[0] if "datasets" in tested else tested
        scale = next(step["scale"] for step in tested.pipeline if step["type"] == "Resize")
        size = f"single-scale {scale[0]}x{scale[1]}"
        return ", ".join([size, *details]) + holdout.describe(tested.get("held_out"))

    def variations(self, job: Job, config: Config) -> dict[str, str]:
        """Return the deviations from fine-tuning the whole backbone on all images, and the names of the tricks."""
        words = {}
        fraction = config.train_dataloader.dataset.get("fraction")
        if fraction is not None:
            words["images"] = (
                f"{100 * fraction:g}% of the training images, stratified by class and drawn with the "
                "seed; as many steps as with all"
            )
        decay = (config.optim_wrapper.get("paramwise_cfg") or {}).get("layer_decay")
        if decay is not None:
            words["layer_decay"] = (
                f"learning rate times {decay:g} for each stage of the backbone below the heads"
            )
        if job.options.tricks:
            words["tricks"] = ", ".join(job.options.tricks)
        return words

    def notes(self, runner: Any) -> list[str]:
        """List the classes that no test image contains."""
        absent = _details(runner).get("absent_classes", ())
        if not absent:
            return []
        return [f"{self.absent_classes.format(count=len(absent))}: {listed_names(absent)}"]

    def finish(self, runner: Any, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Draw examples, and write the per-class values behind the means."""
        work_dir = job.options.work_dir
        write_json(work_dir / EVALUATION_FILE, _details(runner))
        test = runner.val_loop.dataloader.dataset
        model = measured_model(runner)
        names = write_examples(model, test, self.draw, work_dir / "examples", EXAMPLES)
        return {"examples": [f"examples/{name}" for name in names], "evaluation": EVALUATION_FILE}


def _details(runner: Any) -> dict[str, Any]:
    (evaluator,) = runner.val_loop.evaluator.metrics
    return evaluator.details
