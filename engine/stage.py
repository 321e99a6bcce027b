"""Run one stage on mmengine's Runner: assemble, train, evaluate, write the result.

The three stages differ in what a `Stage` says of them; everything else is here, once.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import Tensor

import backbones
from backbones import CheckpointMetadata, read_metadata
from contract.errors import UserError
from contract.files import write_json
from contract.result import CURVES_FILE, RESULT_FILE, Metric, write_result
from engine import adapter, averaging, images, seeding, transfer_protocols  # noqa: F401  (they register themselves)
from engine import config as configs
from engine.accumulation import batch_in_words
from engine.budget import resolve as resolve_budget
from engine.command import exit_status, make_work_dir, user_error
from engine.costs import measure
from engine.device import device, peak_memory_mib
from engine.distributed import join, leave, world_size
from engine.hooks import ELAPSED, RECEIPT, VALIDATION_HISTORY
from engine.options import Options, parse
from engine.precision import Precision, choose_precision
from engine.resume import point_at_checkpoint
from engine.seeding import SeededDataset
from engine.transfer_samples import TRANSFERABILITY, Regions, TransferabilityHook
from engine.wiring import wire

CURVE_POINTS = 200


@dataclass(frozen=True)
class Job:
    """A stage's options with everything resolved that its assembly needs.

    Attributes:
        options: The command line.
        spec: The backbone to build.
        source: What the hand-off checkpoint says of itself; None where the weights are random.
        precision: Resolved.
    """

    options: Options
    spec: str
    source: CheckpointMetadata | None
    precision: Precision

    @property
    def pretrained(self) -> bool:
        """Whether the backbone comes from a checkpoint."""
        return self.source is not None


class Stage(ABC):
    """What one stage adds to the common run.

    Attributes:
        name: `'cls'`, `'det'` or `'seg'`.
        folder: The stage's folder, which holds `configs/`.
        scope: mmengine's default scope while the stage is built.
        regions: Takes labelled features out of the backbone's last map, by which transferability is measured before
            training; None where the stage is no transfer.
    """

    name: str
    folder: Path
    scope: str
    regions: ClassVar[Regions | None] = None

    @abstractmethod
    def assemble(self, job: Job) -> Config:
        """The Runner config, but for what `engine.wiring.wire` adds to all stages alike."""

    @abstractmethod
    def metrics(self, values: dict[str, float]) -> list[Metric]:
        """The result's metrics from those of mmengine's evaluator."""

    @abstractmethod
    def protocol(self, config: Config) -> dict[str, str]:
        """How the numbers were made, for the table's header."""

    def costs(self, runner: Runner, images_per_second: float) -> list[Metric]:
        """What the stage's training costs beside what `engine.costs` measures in every stage."""
        return []

    def infer(self, model: Any, image: Tensor) -> object:
        """Run on an image `(1, 3, H, W)` the layers that inference runs, so that multiply-adds can be counted.

        Shapes alone are computed: nothing may depend on values.
        """
        return model(image)

    def further_metrics(self, runner: Runner) -> list[Metric]:
        """Metrics that are measured once, after the last validation."""
        return []

    def notes(self, runner: Runner) -> list[str]:
        """What the evaluation found that a reader of the numbers has to know, in sentences."""
        return []

    def finish(self, runner: Runner, job: Job, metrics: list[Metric]) -> dict[str, Any]:
        """Write what else the stage leaves behind; returns the result's extra `artifacts`."""
        return {}


def main(stage: Stage, arguments: Sequence[str] | None = None) -> int:
    """The command line of a stage; returns the exit status."""

    def parse_and_run() -> None:
        prog = f"python -m {stage.folder.name}.train"
        run(stage, parse(prog, arguments, classification=stage.name == "cls"))

    return exit_status(parse_and_run)


def run(stage: Stage, options: Options) -> None:
    """Train and evaluate a stage and write its work dir.

    Raises:
        UserError: For everything that the user can mend.
    """
    job = resolve_job(options)
    config = prepare(stage, job)
    join()
    try:
        _run(stage, job, config)
    finally:
        leave()


def _run(stage: Stage, job: Job, config: Config) -> None:
    options = job.options
    make_work_dir(options.work_dir)
    point_at_checkpoint(config, options.work_dir, resume=options.resume, identity=options.identity)
    started = time.monotonic()
    runner = Runner.from_cfg(config)
    _require_a_batch(runner)
    _say(job, config, runner)
    if stage.regions is not None:
        runner.register_hook(TransferabilityHook(stage.regions, options.checkpoint))
    runner.train()
    if not is_main_process():
        return
    history = runner.message_hub.runtime_info[VALIDATION_HISTORY]
    metrics = [*stage.metrics(history[-1]["metrics"]), *stage.further_metrics(runner)]
    write_json(options.work_dir / CURVES_FILE, _curves(stage, runner, history))
    artifacts = {"curves": CURVES_FILE, **stage.finish(runner, job, metrics)}
    fields = _fields(stage, job, config, runner)
    fields["artifacts"] = artifacts
    fields["wall_seconds"] = round(
        runner.message_hub.runtime_info.get(ELAPSED, time.monotonic() - started), 2
    )
    # Last, so that nothing which decides numbers comes after it.
    measured = measure(runner, stage.infer, smoke=options.budget == "smoke")
    costs = [*stage.costs(runner, fields["train_images_per_second"]), *measured.figures]
    fields["costs"] = costs
    fields["inference"] = measured.inference
    fields["metrics"] = metrics
    write_result(options.work_dir / RESULT_FILE, fields)
    print(", ".join(f"{m.name} {m.value:.2f}{m.unit}" for m in metrics))


def resolve_job(options: Options) -> Job:
    """Read the checkpoint's own words and choose the precision.

    Raises:
        UserError: Neither a backbone nor a checkpoint is named, the checkpoint is none, or the device lacks the
            precision.
    """
    source = read_metadata(options.checkpoint) if options.checkpoint is not None else None
    spec = options.backbone or (source.spec if source else None)
    if spec is None:
        raise UserError(
            "no backbone was named; give --backbone SPEC (see python -m backbones) or --checkpoint FILE"
        )
    return Job(options, spec, source, choose_precision(options.precision))


def prepare(stage: Stage, job: Job) -> Config:
    """The finished Runner config of a job, checked."""
    # mmengine writes the config into every checkpoint; formatting it would take seconds each time.
    config = Config(stage.assemble(job)._cfg_dict, format_python_code=False)
    budget = resolve_budget(job.options.budget, config.pop("budgets", {}))
    wire(config, stage.name, job.options, job.precision, budget)
    configs.check_arguments(config, stage.scope)
    return config


def _require_a_batch(runner: Runner) -> None:
    if runner.train_loop.max_iters > 0:
        return
    raise UserError(
        f"the training set has {len(runner.train_dataloader.dataset)} images, fewer than one batch "
        f"of {runner.train_dataloader.batch_size} per process; add images or make the batch smaller"
    )


def _say(job: Job, config: Config, runner: Runner) -> None:
    if not is_main_process():
        return
    weights = f"from {job.options.checkpoint}" if job.pretrained else "random"
    print(f"backbone:  {job.spec}, weights {weights}")
    print(f"precision: {job.precision}; evaluation in float32")
    print(f"batch:     {batch_in_words(config, world_size(), job.options.lr_factor)}")
    print(f"workers:   {config.train_dataloader.num_workers} loader process(es)", flush=True)


def _curves(
    stage: Stage, runner: Runner, history: list[dict[str, Any]]
) -> dict[str, list[dict[str, float]]]:
    """Training loss and learning rate, thinned to `CURVE_POINTS` means, and every validation."""
    scalars = runner.message_hub.log_scalars
    losses = scalars["train/loss"].data[0]
    rates = scalars["train/lr"].data[0]
    per_epoch = max(1, runner.max_iters / max(1, runner.max_epochs))
    if "max_iters" in runner.cfg.train_cfg:
        per_epoch = max(
            1, len(runner.train_dataloader.dataset) / runner.cfg.train_dataloader.batch_size
        )
    width = max(1, -(-len(losses) // CURVE_POINTS))
    train = [
        {
            "step": min(start + width, len(losses)),
            "epoch": round(min(start + width, len(losses)) / per_epoch, 4),
            "loss": float(losses[start : start + width].mean()),
            "lr": float(rates[min(start + width, len(rates)) - 1]),
        }
        for start in range(0, len(losses), width)
    ]
    validations = [
        {
            "step": entry["step"],
            "epoch": round(entry["step"] / per_epoch, 4),
            **{m.name: m.value for m in stage.metrics(entry["metrics"])},
        }
        for entry in history
    ]
    return {"train": train, "val": validations}


def _fields(stage: Stage, job: Job, config: Config, runner: Runner) -> dict[str, Any]:
    options = job.options
    model = runner.model.module if hasattr(runner.model, "module") else runner.model
    train, test = runner.train_dataloader.dataset, runner.val_loop.dataloader.dataset
    scalars = runner.message_hub.log_scalars
    seconds, cpu_seconds = (scalars[f"train/{key}"].data[0] for key in ("time", "cpu_time"))
    batch = config.train_dataloader.batch_size * world_size()
    receipt = runner.message_hub.runtime_info.get(RECEIPT)
    transferability = runner.message_hub.runtime_info.get(TRANSFERABILITY, {})
    notes = [*stage.notes(runner), *transferability.get("notes", ())]
    return {
        **common_fields(job, stage.name, train, test, receipt, notes),
        "recipe": options.recipe or ("standard" if stage.name == "cls" else None),
        "lr_factor": options.lr_factor,
        "protocol": {
            **stage.protocol(config),
            "batch": batch_in_words(config, world_size(), options.lr_factor),
            **transfer_protocols.in_words(config),
            **_tricks_in_words(stage, options),
        },
        "model": {
            "backbone_parameters": backbones.count_parameters(model.backbone.net),
            "parameters": backbones.count_parameters(model),
        },
        "transferability": transferability.get("scores", []),
        "precision": {"dtype": job.precision.dtype, "reason": job.precision.reason},
        # The median: the first iterations choose kernels and start loader workers.
        "train_images_per_second": round(batch / float(np.median(seconds)), 2),
        "train_images_per_cpu_second": round(
            config.train_dataloader.batch_size / float(np.median(cpu_seconds)), 2
        ),
        "peak_memory_mib": peak_memory_mib(),
    }


def common_fields(
    job: Job,
    stage: str,
    train: SeededDataset,
    test: SeededDataset,
    receipt: dict[str, Any] | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The fields of a result that say what was asked for, on which data, from which weights.

    Args:
        job: The job.
        stage: The stage's name.
        train: The training set.
        test: The test set.
        receipt: Proof that the checkpoint's weights are in the model; None where they are random.
        notes: What the stage found in the data, beside what loading them has mended.
    """
    options = job.options
    if receipt is not None and job.source is not None:
        source = dataclasses.asdict(job.source)
        del source["features"]
        receipt = {**receipt, "source": source}
    return {
        "stage": stage,
        "identity": options.identity,
        "config": options.config,
        "backbone": job.spec,
        "tricks": list(options.tricks),
        "budget": options.budget,
        "seed": options.seed,
        "device": device(),
        "data": {
            "fingerprint": options.data_fingerprint,
            "classes": len(train.metainfo["classes"]),
            "train_images_total": train.images_total,
            "train_images_used": train.images_used,
            "test_images_total": test.images_total,
            "test_images_used": test.images_used,
            "notes": [
                f"{stage} {split} set: {note}"
                for split, dataset in (("training", train), ("test", test))
                for note in dataset.notes
            ]
            + [f"{stage} {note}" for note in notes],
        },
        "checkpoint": receipt,
    }


def _tricks_in_words(stage: Stage, options: Options) -> dict[str, str]:
    """The protocol's entry on a dense stage's own tricks; a classifier's are what its row is about."""
    if stage.name == "cls" or not options.tricks:
        return {}
    return {"tricks": ", ".join(options.tricks)}


__all__ = [
    "Job",
    "Stage",
    "common_fields",
    "main",
    "prepare",
    "resolve_job",
    "run",
    "user_error",
]
