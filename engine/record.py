"""The record of a finished run: its curves and the fields of its `result.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

import backbones
from datasets import made
from engine.job import Job
from engine.measure.samples import TRANSFERABILITY
from engine.runner import numerics
from engine.runner.batch import batch_use, describe_batch
from engine.runner.device import device
from engine.runner.distributed import world_size
from engine.runner.load_report import LOAD_REPORT
from engine.runner.numerics import NUMERICS
from engine.runner.peak_memory import peak_memory
from engine.runner.seeding import SeededDataset

if TYPE_CHECKING:
    from engine.task import Task

CURVE_POINTS = 200
FIRST_ITERATIONS = 5


def curves(
    task: Task, runner: Any, history: list[dict[str, Any]]
) -> dict[str, list[dict[str, float]]]:
    """Return training loss and learning rate, thinned to `CURVE_POINTS` means, and every validation."""
    scalars = runner.message_hub.log_scalars
    losses, steps = scalars["train/loss"].data
    rates, rate_steps = scalars["train/lr"].data
    # An entry of a long history is the sum of several iterations.
    ends = np.cumsum(steps).astype(int)
    per_epoch = max(1, runner.max_iters / max(1, runner.max_epochs))
    if "max_iters" in runner.cfg.train_cfg:
        per_epoch = max(
            1, len(runner.train_dataloader.dataset) / runner.cfg.train_dataloader.batch_size
        )
    width = max(1, -(-int(ends[-1]) // CURVE_POINTS))
    bounds = np.unique(np.searchsorted(ends, np.arange(0, ends[-1] + width, width), side="right"))
    train = [
        {
            "step": int(ends[stop - 1]),
            "epoch": round(int(ends[stop - 1]) / per_epoch, 4),
            "loss": float(losses[start:stop].sum() / steps[start:stop].sum()),
            "lr": float(rates[stop - 1] / rate_steps[stop - 1]),
        }
        for start, stop in pairwise(bounds.tolist())
    ]
    validations = [
        {
            "step": entry["step"],
            "epoch": round(entry["step"] / per_epoch, 4),
            **{m.name: m.value for m in task.metrics(entry["metrics"])},
        }
        for entry in history
    ]
    return {"train": train, "val": validations}


def result_fields(task: Task, job: Job, config: Config, runner: Any) -> dict[str, Any]:
    """Return the fields that are known after training and evaluation, except scores and costs."""
    options = job.options
    model = runner.model.module if hasattr(runner.model, "module") else runner.model
    train, test = runner.train_dataloader.dataset, runner.val_loop.dataloader.dataset
    images = config.train_dataloader.batch_size
    load_report = runner.message_hub.runtime_info.get(LOAD_REPORT)
    estimates = runner.message_hub.runtime_info.get(TRANSFERABILITY, {})
    used = runner.message_hub.runtime_info[NUMERICS]
    notes = [*task.notes(runner), *estimates.get("notes", ()), *numerics.notes(used)]
    return {
        **common_fields(job, task.name, train, test, load_report, notes),
        "recipe": task.recipe(options),
        "lr_factor": options.lr_factor,
        "protocol": {
            **task.protocol(config),
            "batch": describe_batch(config, world_size(), options.lr_factor),
            **images_of(options.data),
            **task.variations(job, config),
        },
        "batch": batch_use(config, world_size()),
        "model": {
            "backbone_parameters": backbones.count_parameters(model.backbone.net),
            "parameters": backbones.count_parameters(model),
        },
        "transferability": estimates.get("scores", []),
        "precision": {"dtype": job.precision.dtype, "reason": job.precision.reason},
        **speeds(runner.message_hub.log_scalars, images),
        "numerics": used,
        **peak_memory(runner),
    }


def images_of(root: Path) -> dict[str, str]:
    """Return the protocol's entry on images that `data shrink` made; none for images as they were published."""
    description = made.describe(root)
    return {} if description is None else {"images": description}


def speeds(scalars: Mapping[str, Any], images: int) -> dict[str, float]:
    """Return the three speeds of training: medians over the iterations.

    Args:
        scalars: mmengine's history buffers by name.
        images: Images of an iteration of this process; all processes have as many.
    """
    seconds, waiting, cpu_seconds = (
        _steady(_means(scalars[f"train/{key}"])) for key in ("time", "data_time", "cpu_time")
    )
    times = {
        "train_images_per_second": seconds / world_size(),
        "train_images_per_second_without_loading": (seconds - waiting) / world_size(),
        "train_images_per_cpu_second": cpu_seconds,
    }
    return {name: round(images / float(np.median(each)), 2) for name, each in times.items()}


def _means(history: HistoryBuffer) -> np.ndarray:
    values, counts = history.data
    return values / counts


def _steady(values: np.ndarray) -> np.ndarray:
    """Leave out the first iterations, which choose kernels and start loader workers."""
    return values[min(FIRST_ITERATIONS, len(values) // 4) :]


def common_fields(
    job: Job,
    task: str,
    train: SeededDataset,
    test: SeededDataset,
    load_report: dict[str, Any] | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return the fields on options, data and pretrained weights.

    Args:
        job: The job.
        task: The task's name.
        train: The training set.
        test: The test set.
        load_report: Proof that the checkpoint's weights are in the model; None if they are random.
        notes: Notes on the data, in addition to repairs while loading.
    """
    options = job.options
    if load_report is not None and job.source is not None:
        source = dataclasses.asdict(job.source)
        del source["features"]
        load_report = {**load_report, "source": source}
    return {
        "stage": task,
        "identity": options.identity,
        "config": options.config,
        "backbone": job.spec,
        "tricks": list(options.tricks),
        "budget": options.budget,
        "seed": options.seed,
        "device": device(job.device_type),
        "data": {
            "fingerprint": options.data_fingerprint,
            "classes": len(train.metainfo["classes"]),
            "train_images_total": train.images_total,
            "train_images_used": train.images_used,
            "test_images_total": test.images_total,
            "test_images_used": test.images_used,
            "notes": [
                f"{task} {split} set: {note}"
                for split, dataset in (("training", train), ("test", test))
                for note in dataset.notes
            ]
            + [f"{task} {note}" for note in notes],
        },
        "checkpoint": load_report,
    }
