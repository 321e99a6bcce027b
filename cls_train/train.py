"""`python -m cls_train.train CONFIG …`: train a classifier and export its backbone."""

from __future__ import annotations

import sys
from typing import Any

from mmengine.config import Config
from torch import Tensor

import backbones
from backbones import CheckpointMetadata
from cls_train import (
    classifier,
    colours,
    distillation,
    losses,
    metric,
    mixing,
    optimisers,
    preprocessor,
    schedules,
    transforms,
)
from cls_train.assemble import STANDARD, assemble, load_recipe
from contract.result import CHECKPOINT_FILE, Metric
from engine.cli import Options
from engine.job import Job
from engine.runner.averaging import describe_weights, measured_model
from engine.task import Task, run_process


class Classification(Task):
    """Top-1 and top-5 accuracy of a backbone with a linear classifier."""

    name = "cls"
    scope = "mmengine"
    one_shape = True
    modules = (
        *(classifier, colours, distillation, losses, metric, mixing, optimisers, preprocessor),
        *(schedules, transforms),
    )

    def assemble(self, job: Job) -> Config:
        """See `cls_train.assemble`."""
        return assemble(job)

    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """Return top-1 and top-5 in percent."""
        return [Metric(name=name, value=values[name]) for name in ("top1", "top5")]

    def protocol(self, config: Config) -> dict[str, str]:
        """Describe the metric and the test pipeline."""
        steps = config.val_dataloader.dataset.dataset.pipeline
        return {
            "metric": "top-1 and top-5 accuracy",
            "test": ", ".join(f"{step['type']} {step.get('size', '')}".strip() for step in steps)
            + "; one view",
            "checkpoint": "last",
            **describe_weights(config),
        }

    def recipe(self, options: Options) -> str:
        """Return the name of the recipe."""
        return options.recipe or STANDARD

    def costs(self, runner: Any, images_per_second: float) -> list[Metric]:
        """Return the minutes per epoch of the whole training set."""
        minutes = runner.train_dataloader.dataset.images_total / images_per_second / 60
        return [Metric(name="epoch_minutes", value=minutes, unit="min", higher_is_better=False)]

    def without_teacher(self, config: Config) -> None:
        """Train on the labels alone."""
        model: Any = config.model
        model.distillation = None

    def loss_of_shapes(self, model: Any, images: Tensor) -> Tensor:
        """Return the loss against uniform targets."""
        targets = images.new_full((len(images), model.num_classes), 1 / model.num_classes)
        return sum(model.terms(images, targets).values(), start=images.new_zeros(()))

    def finish(self, runner: Any, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Export the backbone with its metadata."""
        recipe = load_recipe(job)
        metadata = CheckpointMetadata(
            spec=job.spec,
            recipe=self.recipe(job.options),
            tricks=job.options.tricks,
            top1=metrics[0].value,
            mean=tuple(recipe.normalisation.mean),
            std=tuple(recipe.normalisation.std),
            channel_order="RGB",
            seed=job.options.seed,
            weights="raw" if recipe.ema is None else "ema",
        )
        model: Any = measured_model(runner)
        backbones.export_checkpoint(
            model.backbone.net, job.options.work_dir / CHECKPOINT_FILE, metadata, head=model.head
        )
        return {"backbone": CHECKPOINT_FILE}


def command() -> int:
    """Run the command line and return the exit status."""
    return run_process(Classification())


if __name__ == "__main__":
    sys.exit(command())
