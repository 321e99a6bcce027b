"""Run the probe task: extract features, classify by k-NN, fit the linear probe, write `result.json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

import backbones
from contract.errors import UserError
from contract.files import write_json
from contract.result import EVALUATION_FILE, RESULT_FILE, Metric, write_result
from contract.tasks import TASKS
from contract.timing import CLOCK, TRAINING, WRITING
from datasets.layouts.imagefolder import open_split
from engine import config as configs
from engine.adapter import TransferBackbone
from engine.budget import Budget
from engine.budget import resolve as resolve_budget
from engine.cli import exit_status, make_work_dir, parse
from engine.image_folder import ImageFolderDataset, transforms_of
from engine.job import Job, resolve_job
from engine.normalisation import normalisation
from engine.record import common_fields, images_of
from engine.runner import numerics
from engine.runner.device import peak_memory_mib, pinned_to
from engine.runner.distributed import world_size
from engine.runner.seeding import SeededDataset, seed_everything
from probe.features import PooledFeatures, extract
from probe.linear import Trial, choose_exponent, fit, hold_out
from probe.neighbours import nearest_votes

CONFIGS = Path(__file__).parent / "configs"
BASE = "imagenet.py"
TASK = "probe"


@dataclass(frozen=True)
class Split:
    """The features of one split.

    Attributes:
        features: (n, C).
        labels: Class indices (n,).
    """

    features: Tensor
    labels: Tensor

    def top1(self, predictions: Tensor) -> float:
        """Return the accuracy of predictions (n,) in percent."""
        return 100 * float((predictions == self.labels).double().mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    CLOCK.restart()

    def work() -> None:
        with backbones.hold_checkpoints():
            job = resolve_job(parse("python -m probe", arguments, TASKS[TASK]))
            with pinned_to(job.device_type):
                run(job)

    return exit_status(
        work,
        interrupted="interrupted; a probe keeps nothing to resume from: run it again",
    )


def run(job: Job) -> None:
    """Probe a backbone and write the work dir.

    Raises:
        UserError: The user can fix the problem.
    """
    if world_size() > 1:
        raise UserError(
            f"torchrun started {world_size()} processes, but the probe runs in one; call python -m probe"
        )
    numerics.start(deterministic=job.options.deterministic)
    config, budget = load_config(job)
    train, test = _datasets(job, config, budget)
    make_work_dir(job.options.work_dir)
    if job.options.resume:
        print("note: a probe keeps nothing to resume from; it starts again", flush=True)
    started = time.monotonic()
    network, report = _network(job)
    # A limited run uses no workers, because starting them would take longer than the run.
    workers = config.workers if budget.iterations is None else 0
    CLOCK.enter(TRAINING)
    learnt, tested = (
        Split(*extract(network, dataset, name, config.batch_size, workers))
        for name, dataset in (("training", train), ("test", test))
    )
    extracted = time.monotonic()
    metrics, details = probe(config, learnt, tested, train.metainfo["classes"], job.options.seed)
    CLOCK.leave()
    CLOCK.enter(WRITING)
    seconds = (extracted - started, time.monotonic() - extracted)
    write_json(job.options.work_dir / EVALUATION_FILE, details)
    fields = {
        **common_fields(job, TASK, train, test, report, _notes(config, len(train))),
        "recipe": None,
        "protocol": {**protocol(config), **images_of(job.options.data)},
        "peak_memory_mib": peak_memory_mib(job.device_type),
        "costs": [
            Metric(name=name, value=value, unit="s", higher_is_better=False)
            for name, value in zip(("feature_seconds", "fit_seconds"), seconds, strict=True)
        ],
        "model": dict.fromkeys(
            ("backbone_parameters", "parameters"), backbones.count_parameters(network.backbone)
        ),
        "transferability": [],
        "precision": {"dtype": "float32", "reason": _reason(job)},
        # The probe has no training steps.
        "train_images_per_second": None,
        "train_images_per_cpu_second": None,
        "wall_seconds": round(sum(seconds), 2),
        "artifacts": {"evaluation": EVALUATION_FILE},
    }
    fields["metrics"] = metrics
    CLOCK.write(job.options.work_dir)
    write_result(job.options.work_dir / RESULT_FILE, fields)
    print(", ".join(f"{m.name} {m.value:.2f}{m.unit}" for m in metrics))


def load_config(job: Job) -> tuple[Config, Budget]:
    """Return the checked config with the command line's overrides, and the budget.

    Raises:
        UserError: A key or budget is unknown, or a value is out of range.
    """
    options = job.options
    known = list(Config.fromfile(CONFIGS / BASE)._cfg_dict)
    configs.check_file_keys(configs.find(CONFIGS, options.config, "config"), known)
    config = configs.load(CONFIGS, options.config, options.tricks, options.overrides)
    if not 0 < config.held_out < 1:
        raise UserError(f"held_out={config.held_out} was given; it must lie in (0, 1)")
    if min(config.neighbours) < 1 or config.table_neighbours not in config.neighbours:
        raise UserError(
            f"neighbours={tuple(config.neighbours)} and table_neighbours={config.table_neighbours} were given; all are "
            "1 or more, and the table's is one of them"
        )
    if not config.temperature > 0:
        raise UserError(f"temperature={config.temperature} was given; it must be above 0")
    search = config.strengths
    if not (search.low < search.high and search.step > 0 and search.halvings >= 0):
        raise UserError(
            f"strengths={search.to_dict()} was given; low lies below high, step above 0, and halvings is 0 or more"
        )
    return config, resolve_budget(options.budget, config.budgets)


def _datasets(job: Job, config: Config, budget: Budget) -> tuple[SeededDataset, SeededDataset]:
    """Return the training and the test images, both with the test pipeline."""
    root, seed = job.options.data, job.options.seed
    pipeline = transforms_of(config, "test_pipeline")
    classes = list(open_split(root / "train").classes())
    train: Any = ImageFolderDataset(str(root / "train"), pipeline)
    limit = None
    if budget.iterations is not None:
        limit = budget.iterations * (budget.batch_size or config.batch_size)
    elif budget.fraction < 1:
        limit = max(1, round(budget.fraction * len(train)))
    test: Any = ImageFolderDataset(str(root / "val"), pipeline, classes)
    return SeededDataset(train, seed, limit), SeededDataset(test, seed, budget.test_images)


def _network(job: Job) -> tuple[PooledFeatures, dict[str, Any] | None]:
    """Return the frozen network on this machine's device, and the load report of its checkpoint."""
    # Random weights depend only on the seed.
    seed_everything(job.options.seed)
    checkpoint = job.options.checkpoint
    path = None if checkpoint is None else str(checkpoint)
    backbone = TransferBackbone(job.spec, path, channels_last=True)
    network = PooledFeatures(backbone, normalisation(job))
    network.to(job.device_type)
    report = None if path is None else backbone.verify(path).model_dump(exclude={"source"})
    print(f"backbone:  {job.spec}, weights {f'from {path}' if path else 'random'}")
    print(f"device:    {job.device_type}: {job.device_reason}", flush=True)
    return network, report


def probe(
    config: Config, train: Split, test: Split, names: Sequence[str], seed: int
) -> tuple[list[Metric], dict[str, Any]]:
    """Classify the test images by their neighbours and by the linear probe.

    Args:
        config: The config from `load_config`.
        train: The features to learn from.
        test: The features to classify; they are used once.
        names: The classes.
        seed: Decides which training images are used to choose the strength.

    Returns:
        The metrics, and the content of `evaluation.json`.
    """
    votes = nearest_votes(
        train.features,
        train.labels,
        test.features,
        len(names),
        config.neighbours,
        config.temperature,
    )
    held = hold_out(train.labels, config.held_out, seed)
    exponent, trials = choose_exponent(
        train.features, train.labels, len(names), held, config.strengths, config.iterations
    )
    linear = fit(train.features, train.labels, len(names), 10.0**exponent, config.iterations)
    predictions = {
        "linear_top1": linear.logits(test.features).argmax(dim=1),
        "knn_top1": votes[config.table_neighbours],
    }
    metrics = [
        Metric(name=name, value=test.top1(predicted)) for name, predicted in predictions.items()
    ]
    details = {
        "knn_top1": {str(k): test.top1(predicted) for k, predicted in votes.items()},
        "linear": {
            "strength": 10.0**exponent,
            "iterations": linear.iterations,
            "converged": linear.converged,
            "held_out_images": len(held[1]),
            "trials": [_trial(trial) for trial in trials],
        },
        "classes": {
            name: _class_entry(test, predictions, label) for label, name in enumerate(names)
        },
    }
    return metrics, details


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "strength": 10.0**trial.exponent,
        "held_out_top1": trial.top1,
        "held_out_loss": trial.loss,
        "converged": trial.converged,
    }


def _class_entry(test: Split, predictions: dict[str, Tensor], label: int) -> dict[str, Any]:
    """Return the number of test images of a class, and their accuracy; null if there are none."""
    members = test.labels == label
    own = Split(test.features[members], test.labels[members])
    count = len(own.labels)
    return {
        "images": count,
        **{n: own.top1(p[members]) if count else None for n, p in predictions.items()},
    }


def protocol(config: Config) -> dict[str, str]:
    """Describe how the numbers are measured, for the notes of the table."""
    steps = transforms_of(config, "test_pipeline")
    return {
        "metric": "top-1 accuracy of a linear probe and of k-NN on frozen features",
        "test": ", ".join(f"{step['type']} {step.get('size', '')}".strip() for step in steps)
        + "; one view, of training images too",
        "features": "last map, mean over locations, in evaluation mode",
        "k-NN": f"k = {config.table_neighbours}, cosine similarity, temperature {config.temperature:g}",
        "linear": "logistic regression by L-BFGS on standardised features, L2 strength chosen on "
        f"{100 * config.held_out:g}% of the training images, then fitted on all",
    }


def _notes(config: Config, images: int) -> list[str]:
    return [
        f"k-NN with k = {k} takes all {images} training images"
        for k in config.neighbours
        if k > images
    ]


def _reason(job: Job) -> str:
    asked = job.options.precision
    reason = "features are computed as in evaluation"
    return reason if asked in ("auto", "fp32") else f"{reason}; {asked} applies to training"
