"""The schedule of a run, resolved from its config: how many images it trains and tests, and what decides its cost.

`python -m cls_train.train --schedules FILE ANSWER` resolves the command lines in FILE without training anything; the
harness computes the times of a plan from the answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from contract.errors import UserError
from contract.files import write_json
from engine.cli import parse
from engine.job import Job, resolve_job
from engine.runner.batch import division

if TYPE_CHECKING:
    from engine.task import Task

# Parts of a model that take no time worth counting, or that a measurement leaves out.
_CHEAP = (
    *("loss", "targets", "mixing", "penalties", "initialisation", "zero_gamma", "dropout"),
    *("distillation", "checkpoint", "init_cfg", "data_preprocessor", "pretrained"),
)

Facts = dict[str, Any]


def answer(task: Task, requests: Path, target: Path) -> None:
    """Resolve command lines of a task.

    Args:
        task: The task.
        requests: A JSON file with a list of command lines.
        target: The file for the answers: for each command line the facts, or `{"error": reason}`.
    """
    found: list[Facts] = []
    lengths: dict[str, tuple[int, int]] = {}
    for words in json.loads(requests.read_text(encoding="utf-8")):
        try:
            found.append(_facts(task, words, lengths))
        except UserError as error:
            found.append({"error": str(error)})
    write_json(target, {"answers": found})


def _facts(task: Task, words: list[str], lengths: dict[str, tuple[int, int]]) -> Facts:
    from engine.task import prepare  # it imports this module

    job = resolve_job(parse(f"python -m {task.entry.module}", words, task.entry))
    config = prepare(task, job)
    facts = schedule(config)
    with DefaultScope.overwrite_default_scope(task.scope):
        facts["train_samples"], facts["train_images"] = _length(
            config.train_dataloader.dataset, lengths
        )
        facts["test_images"], facts["test_images_total"] = _length(
            config.val_dataloader.dataset, lengths
        )
    facts["further_tests"] = task.further_test_work(config)
    facts["signature"] = signature(config, job)
    return facts


def schedule(config: Config) -> Facts:
    """Return the facts that a finished Runner config states, without its data.

    Returns:
        `epochs` or `iterations`, the other one None; `validations`; `images`, of a step of this process;
        `pass_images`, of a forward pass, None if memory decides; `drop_last`; `workers` of the loader.
    """
    loop, loader, made = config.train_cfg, config.train_dataloader, division(config)
    by_epoch = "max_epochs" in loop
    length = loop.max_epochs if by_epoch else loop.max_iters
    chosen = made is not None and not made.fixed and made.statistics == "none"
    return {
        "epochs": length if by_epoch else None,
        "iterations": None if by_epoch else length,
        # mmengine also validates at the end.
        "validations": -(-length // max(1, loop.get("val_interval", 1))),
        "images": loader.batch_size,
        "pass_images": None if chosen else (made.size if made else loader.batch_size),
        "drop_last": bool(loader.get("drop_last", False)),
        "workers": loader.num_workers,
    }


def _length(dataset: Any, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return the samples of an epoch, and the different images; equal datasets are listed once."""
    key = json.dumps(_without_pipeline(dataset.to_dict()), sort_keys=True, default=str)
    if key not in known:
        built: Any = DATASETS.build(dataset)
        built.full_init()
        known[key] = (len(built), built.images_total)
    return known[key]


def _without_pipeline(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_pipeline(value) for key, value in node.items() if key != "pipeline"}
    return [_without_pipeline(value) for value in node] if isinstance(node, list | tuple) else node


def signature(config: Config, job: Job) -> str:
    """Return a digest of what decides the time of an image; runs that share it are measured once.

    Types, sizes and counts decide it. Factors, thresholds and the kind of loss are left out: they change numbers, but
    hardly times.
    """
    parts = [
        job.spec,
        job.precision.dtype,
        job.device_type,
        _structure(config.model.to_dict()),
        _pipelines(config.train_dataloader.to_dict()),
        _pipelines(config.val_dataloader.to_dict()),
        config.optim_wrapper.optimizer.type,
        config.train_dataloader.batch_size,
        schedule(config)["pass_images"],
        [hook["type"] for hook in config.custom_hooks if "EMA" in str(hook["type"])],
    ]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _structure(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            key: _structure(value)
            for key, value in sorted(node.items())
            if not str(key).startswith(_CHEAP)
        }
    if isinstance(node, list | tuple):
        return [_structure(value) for value in node]
    return None if isinstance(node, float) else node


def _pipelines(node: Any) -> list[Any]:
    """Return the structure of every pipeline in a loader's config."""
    if isinstance(node, Mapping):
        own = [_structure(node["pipeline"])] if "pipeline" in node else []
        return own + [found for value in node.values() for found in _pipelines(value)]
    return (
        [found for value in node for found in _pipelines(value)]
        if isinstance(node, list | tuple)
        else []
    )
