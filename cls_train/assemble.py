"""From a recipe (what a person writes) to a Runner config (what mmengine runs)."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from backbones import UserError
from backbones.errors import unknown
from cls_train.data import class_folders
from engine import config as configs
from engine.distributed import world_size
from engine.stage import Job

CONFIGS = Path(__file__).parent / "configs"
SCHEDULES = ("step", "cosine")


def load_recipe(job: Job) -> Config:
    """The config of a job with its recipe's tricks, its own tricks and overrides merged in order."""
    options = job.options
    recipe = options.recipe or "standard"
    file = configs.find(CONFIGS / "recipes", recipe, "recipe")
    tricks = tuple(runpy.run_path(str(file))["tricks"]) + options.tricks
    configs.check_file_keys(configs.find(CONFIGS, options.config, "config"), _known_keys())
    return configs.load(CONFIGS, options.config, tricks, options.overrides)


def _known_keys() -> list[str]:
    return list(Config.fromfile(CONFIGS / "imagenet.py")._cfg_dict)


def assemble(job: Job) -> Config:
    """The Runner config of the classification stage."""
    recipe = load_recipe(job)
    root = job.options.data
    classes = class_folders(root / "train")
    epochs = max(1, round(recipe.epochs * recipe.epochs_factor))
    batch = recipe.batch_size * recipe.batch_size_factor
    processes = world_size()
    if batch % processes:
        raise UserError(f"a batch of {batch} images cannot be shared by {processes} processes")
    return Config(
        dict(
            default_scope="mmengine",
            model=_model(job, recipe, len(classes)),
            train_dataloader=dict(
                batch_size=batch // processes,
                num_workers=recipe.workers,
                drop_last=True,
                collate_fn=dict(type="default_collate"),
                dataset=_dataset(root / "train", _slots(recipe, "train_pipeline"), None),
            ),
            val_dataloader=dict(
                batch_size=min(batch // processes, 128),
                num_workers=recipe.workers,
                sampler=dict(type="DefaultSampler", shuffle=False),
                collate_fn=dict(type="default_collate"),
                dataset=_dataset(root / "val", _slots(recipe, "test_pipeline"), classes),
            ),
            val_evaluator=dict(type="TopKAccuracy"),
            val_cfg=dict(),
            train_cfg=dict(
                by_epoch=True, max_epochs=epochs, val_interval=recipe.validate_every_epochs
            ),
            optim_wrapper=_optimiser(recipe),
            # A budget may cut the batch; the learning rate then shrinks with it, as in det and seg.
            auto_scale_lr=dict(enable=True, base_batch_size=batch),
            param_scheduler=_schedulers(recipe, epochs),
            default_hooks=dict(checkpoint=dict(interval=recipe.checkpoint_every_epochs)),
            custom_hooks=_custom_hooks(recipe),
            budgets=recipe.budgets,
        )
    )


def _slots(recipe: Config, key: str) -> list[ConfigDict]:
    """The filled slots of a pipeline in order; one without a type was named by mistake."""
    filled = {name: slot for name, slot in recipe[key].items() if slot is not None}
    typed = [name for name, slot in filled.items() if "type" in slot]
    for name in filled:
        if name not in typed:
            raise unknown(f"slot without a type in {key}:", name, typed)
    return list(filled.values())


def _dataset(root: Path, pipeline: list[ConfigDict], classes: list[str] | None) -> dict[str, Any]:
    return dict(type="ImageFolderDataset", root=str(root), pipeline=pipeline, classes=classes)


def _model(job: Job, recipe: Config, num_classes: int) -> dict[str, Any]:
    return dict(
        type="ImageClassifier",
        data_preprocessor=dict(type="ImgDataPreprocessor", **recipe.normalisation),
        backbone=dict(type="TransferBackbone", spec=job.spec),
        num_classes=num_classes,
        targets=dict(type="SmoothedTargets", **recipe.label_smoothing),
        mixing=_slots(recipe, "batch_mixing"),
        initialisation=recipe.initialisation,
        zero_gamma=recipe.zero_gamma,
    )


def _optimiser(recipe: Config) -> dict[str, Any]:
    if recipe.lr_scaling not in ("none", "linear"):
        raise unknown("lr_scaling", recipe.lr_scaling, ("none", "linear"))
    lr = recipe.lr * (recipe.batch_size_factor if recipe.lr_scaling == "linear" else 1)
    wrapper: dict[str, Any] = dict(optimizer=dict(**recipe.optimizer, lr=lr))
    if recipe.clip_grad is not None:
        wrapper["clip_grad"] = recipe.clip_grad
    if not recipe.decay_one_dimensional:
        # mmengine decides this by `param.ndim == 1`, not by name.
        wrapper["paramwise_cfg"] = dict(flat_decay_mult=0.0)
    return wrapper


def _schedulers(recipe: Config, epochs: int) -> list[dict[str, Any]]:
    """Schedulers of mmengine, stepped every iteration; durations are in epochs."""
    warmup = min(recipe.warmup_epochs, epochs) if recipe.warmup else 0
    per_iteration = dict(by_epoch=True, convert_to_iter_based=True)
    schedulers: list[dict[str, Any]] = []
    if warmup:
        schedulers.append(dict(type="WarmUp", begin=0, end=warmup, **per_iteration))
    kind = recipe.schedule["type"]
    if kind == "step":
        milestones = [math.ceil(m * epochs) for m in recipe.schedule.milestones]
        schedulers.append(
            dict(
                type="MultiStepLR",
                milestones=milestones,
                gamma=recipe.schedule.gamma,
                begin=0,
                end=epochs,
                **per_iteration,
            )
        )
    elif kind == "cosine":
        if epochs > warmup:
            schedulers.append(
                dict(
                    type="CosineAnnealingLR",
                    eta_min=0.0,
                    begin=warmup,
                    end=epochs,
                    **per_iteration,
                )
            )
    else:
        raise unknown("schedule", kind, SCHEDULES)
    return schedulers


def _custom_hooks(recipe: Config) -> list[dict[str, Any]]:
    hooks = []
    if recipe.ema is not None:
        hooks.append(dict(type="EMAHook", **recipe.ema))
    if recipe.early_stopping is not None:
        hooks.append(dict(type="EarlyStoppingHook", **recipe.early_stopping))
    return hooks
