"""Convert a recipe to the config of mmengine's Runner."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from cls_train.classifier import ImageClassifier
from cls_train.distillation import distillation_config
from cls_train.losses import SmoothedTargets, SoftmaxFocalLoss
from cls_train.metric import TopKAccuracy
from cls_train.preprocessor import AugmentingPreprocessor
from cls_train.schedules import schedulers
from contract.errors import UserError, unknown
from datasets.layouts.imagefolder import open_split
from engine import config as configs
from engine.adapter import TransferBackbone
from engine.image_folder import (
    ImageFolderDataset,
    collate_images,
    filled_slots,
    split_pipeline,
    transforms_of,
)
from engine.job import Job
from engine.runner.averaging import EpochEMAHook
from engine.runner.batch import checked_size
from engine.runner.distributed import world_size

CONFIGS = Path(__file__).parent / "configs"
STANDARD = "standard"


def load_recipe(job: Job) -> Any:
    """Return the config of a job: the recipe's tricks, further tricks and overrides are merged in order."""
    options = job.options
    recipe = options.recipe or STANDARD
    file = configs.find(CONFIGS / "recipes", recipe, "recipe")
    tricks = tuple(runpy.run_path(str(file))["tricks"]) + options.tricks
    configs.check_file_keys(configs.find(CONFIGS, options.config, "config"), _known_keys())
    return configs.load(CONFIGS, options.config, tricks, options.overrides)


def _known_keys() -> list[str]:
    return list(Config.fromfile(CONFIGS / "imagenet.py")._cfg_dict)


def assemble(job: Job) -> Config:
    """Return the Runner config of the classification task."""
    recipe = load_recipe(job)
    root = job.options.data
    classes = list(open_split(root / "train").classes())
    epochs = max(1, round(recipe.epochs * recipe.epochs_factor))
    batch = recipe.batch_size * recipe.batch_size_factor
    published = _batch_norm_images(recipe, batch)
    return Config(
        dict(
            default_scope="mmengine",
            model=_model(job, recipe, len(classes)),
            train_dataloader=dict(
                batch_size=published,
                num_workers=recipe.workers,
                drop_last=True,
                collate_fn=dict(type=collate_images.__name__),
                dataset=dict(
                    **_dataset(root / "train", transforms_of(recipe, "train_pipeline"), None),
                    decoder=recipe.decoder,
                ),
            ),
            val_dataloader=dict(
                batch_size=max(
                    1, min(batch // world_size(), checked_size(recipe.device_batch_size) or 128)
                ),
                num_workers=recipe.workers,
                sampler=dict(type="DefaultSampler", shuffle=False),
                collate_fn=dict(type=collate_images.__name__),
                dataset=_dataset(root / "val", transforms_of(recipe, "test_pipeline"), classes),
            ),
            val_evaluator=dict(type=TopKAccuracy.__name__),
            val_cfg=dict(),
            train_cfg=dict(
                by_epoch=True, max_epochs=epochs, val_interval=recipe.validate_every_epochs
            ),
            optim_wrapper=optimiser_config(recipe),
            # A budget may reduce the batch; the learning rate is then scaled with it, as in det and seg.
            auto_scale_lr=dict(enable=True, base_batch_size=batch),
            param_scheduler=schedulers(
                recipe.schedule, epochs, recipe.warmup_epochs if recipe.warmup else 0
            ),
            default_hooks=dict(checkpoint=dict(interval=recipe.checkpoint_every_epochs)),
            custom_hooks=_custom_hooks(recipe),
            budgets=recipe.budgets,
            device_batch_size=recipe.device_batch_size,
        )
    )


def _batch_norm_images(recipe: Any, batch: int) -> int:
    """Return the images of one of the published devices."""
    images = recipe.batch_norm_images
    if images is None:
        return batch
    if isinstance(images, bool) or not isinstance(images, int) or images < 2:
        raise UserError(
            f"batch_norm_images={images!r} was given; expected a number of at least 2, such as 32, or None "
            "for all images of a process"
        )
    return min(batch, images * recipe.batch_size_factor)


def _dataset(root: Path, pipeline: list[ConfigDict], classes: list[str] | None) -> dict[str, Any]:
    return dict(
        type=ImageFolderDataset.__name__, root=str(root), pipeline=pipeline, classes=classes
    )


def _model(job: Job, recipe: Any, num_classes: int) -> dict[str, Any]:
    mixing = filled_slots(recipe, "batch_mixing")
    _require_compatible(recipe, mixing)
    return dict(
        type=ImageClassifier.__name__,
        data_preprocessor=dict(
            type=AugmentingPreprocessor.__name__,
            augment=split_pipeline(transforms_of(recipe, "train_pipeline"))[1],
            **recipe.normalisation,
        ),
        backbone=dict(type=TransferBackbone.__name__, spec=job.spec),
        num_classes=num_classes,
        targets=dict(type=SmoothedTargets.__name__, **recipe.label_smoothing),
        loss=recipe.loss,
        mixing=mixing,
        distillation=distillation_config(recipe, job.options.teacher, num_classes),
        penalties=filled_slots(recipe, "penalties"),
        dropout=recipe.dropout,
        initialisation=recipe.initialisation,
        zero_gamma=recipe.zero_gamma,
    )


def _require_compatible(recipe: Any, mixing: list[Any]) -> None:
    """Refuse combinations that would run but that no paper describes."""
    if len(mixing) > 1:
        names = " and ".join(name for name, slot in recipe.batch_mixing.items() if slot is not None)
        raise UserError(
            f"{names} would mix each batch one after the other, which no paper describes; choose one of them"
        )
    soft = ["label smoothing"] if recipe.label_smoothing.epsilon else []
    soft += [slot.type for slot in mixing]
    if recipe.loss.type == SoftmaxFocalLoss.__name__ and soft:
        raise UserError(
            f"the focal loss is defined for labels of one class, and {' and '.join(soft)} makes mixtures of them; "
            "leave out one of the two"
        )


def optimiser_config(recipe: Config) -> dict[str, Any]:
    """Return mmengine's `optim_wrapper` without precision: optimiser, learning rate, weight decay and clipping."""
    if recipe.lr_scaling not in ("none", "linear"):
        raise unknown("lr_scaling", recipe.lr_scaling, ("none", "linear"))
    lr = recipe.lr * (recipe.batch_size_factor if recipe.lr_scaling == "linear" else 1)
    wrapper: dict[str, Any] = dict(
        optimizer=dict(**recipe.optimizer, lr=lr, weight_decay=recipe.weight_decay)
    )
    if recipe.clip_grad is not None:
        wrapper["clip_grad"] = recipe.clip_grad
    if not recipe.decay_one_dimensional:
        # mmengine decides this by `param.ndim == 1`, not by name.
        wrapper["paramwise_cfg"] = dict(flat_decay_mult=0.0)
    return wrapper


def _custom_hooks(recipe: Config) -> list[dict[str, Any]]:
    hooks = []
    if recipe.ema is not None:
        hooks.append({"type": EpochEMAHook.__name__, **recipe.ema})
    if recipe.early_stopping is not None:
        hooks.append(dict(type="EarlyStoppingHook", **recipe.early_stopping))
    return hooks
