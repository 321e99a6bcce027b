"""From a stage's config to the Runner's: seeds, precision, hooks, budget and folders, alike for all stages."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from engine.accumulation import wire_accumulation
from engine.budget import Budget, shorten_schedule
from engine.distributed import launched, world_size
from engine.learning_rate import scale_rates
from engine.options import Options
from engine.precision import Precision
from engine.transfer_protocols import train_fraction, wire_layer_decay

OFFSET_RATE = 0.1


def wire(
    config: Config, stage: str, options: Options, precision: Precision, budget: Budget
) -> None:
    """Turn a stage's assembled config into one that mmengine's Runner runs, in place."""
    shorten_schedule(config, budget)
    config.auto_scale_lr = dict(config.get("auto_scale_lr") or {"base_batch_size": 1, "enable": 0})
    if budget.batch_size is None:
        wire_accumulation(config, world_size())
    scale_rates(config, options.lr_factor)
    by_epoch = "max_epochs" in config.train_cfg
    if not by_epoch:
        config.train_cfg.type = "ResumableIterTrainLoop"
    _wire_loaders(config, options.seed, budget, by_epoch)
    wire_layer_decay(config)
    config.optim_wrapper.update(precision.optim_wrapper())
    if "-dcnv2" in config.model.backbone.get("spec", ""):
        _slow_offsets(config.optim_wrapper)
    config.model.backbone.channels_last = True
    if options.checkpoint is not None:
        config.model.backbone.checkpoint = str(options.checkpoint)
    config.randomness = dict(seed=options.seed)
    config.work_dir = str(options.work_dir)
    config.launcher = "pytorch" if launched() else "none"
    config.model_wrapper_cfg = dict(type="StageDistributedDataParallel", broadcast_buffers=False)
    config.resume = options.resume
    config.env_cfg = dict(
        cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0)
    )
    if config.launcher == "none" or not torch.cuda.is_available():
        _replace_synchronised_norm(config.model)
    _wire_hooks(config, stage, options, by_epoch)
    if budget.iterations is not None:
        config.custom_hooks.append(ConfigDict(type="CumulativeStatisticsHook"))


def _wire_loaders(config: Config, seed: int, budget: Budget, by_epoch: bool) -> None:
    train, test = config.train_dataloader, config.val_dataloader
    train.batch_size = budget.batch_size or train.batch_size
    limit = None
    if by_epoch and budget.iterations is not None:
        limit = budget.iterations * train.batch_size * world_size()
    # A limited run starts no workers: they would take longer to come up than the work.
    if budget.iterations is not None:
        for loader in (train, test):
            loader.num_workers = 0
    for loader in (train, test):
        loader.persistent_workers = loader.num_workers > 0
    fraction = train_fraction(config)
    # `_delete_` is not needed: the whole dict is new.
    train.dataset = ConfigDict(type="SeededDataset", dataset=train.dataset, seed=seed, limit=limit)
    if fraction is not None:
        train.dataset.fraction = fraction
    train.sampler = ConfigDict(type="SeededSampler", seed=seed, shuffle=True, infinite=not by_epoch)
    test.dataset = ConfigDict(
        type="SeededDataset", dataset=test.dataset, seed=seed, limit=budget.test_images
    )
    config.pop("test_dataloader", None)
    config.pop("test_evaluator", None)
    config.pop("test_cfg", None)


def _wire_hooks(config: Config, stage: str, options: Options, by_epoch: bool) -> None:
    hooks = config.setdefault("default_hooks", ConfigDict())
    interval = hooks.get("checkpoint", {}).get("interval", 1)
    loop = config.train_cfg
    if not by_epoch:
        interval = min(interval, loop.max_iters)
    hooks.checkpoint = ConfigDict(
        type="StageCheckpointHook",
        interval=interval,
        by_epoch=by_epoch,
        # The older one stays until the newer is whole.
        max_keep_ckpts=2,
    )
    hooks.logger = ConfigDict(type="LoggerHook", interval=50, log_metric_by_epoch=by_epoch)
    config.log_processor = ConfigDict(window_size=50, by_epoch=by_epoch)
    batch_size = config.train_dataloader.batch_size * world_size()
    config.custom_hooks = [
        *(config.get("custom_hooks") or []),
        ConfigDict(type="SeedEachIterationHook", seed=options.seed),
        ConfigDict(type="NonFiniteLossHook"),
        ConfigDict(type="CpuTimeHook"),
        ConfigDict(type="ValidationHistoryHook"),
        ConfigDict(type="ProgressHook", stage=stage, batch_size=batch_size),
    ]
    if options.checkpoint is not None:
        config.custom_hooks.append(
            ConfigDict(type="ReceiptHook", checkpoint=str(options.checkpoint))
        )


def _slow_offsets(optim_wrapper: ConfigDict) -> None:
    """Train what predicts offsets and masks at a tenth of the rate (Deformable ConvNets v2, 1811.11168, §3.2)."""
    rules = optim_wrapper.setdefault("paramwise_cfg", ConfigDict())
    keys = rules.setdefault("custom_keys", ConfigDict())
    keys[".conv_offset."] = ConfigDict(lr_mult=OFFSET_RATE)
    if rules.get("flat_decay_mult") is not None:
        # A custom key would switch the rule for one-dimensional parameters off.
        keys[".conv_offset.bias"] = ConfigDict(
            lr_mult=OFFSET_RATE, decay_mult=rules.flat_decay_mult
        )


def _replace_synchronised_norm(node: Any) -> None:
    """One process has nobody to synchronise with, and SyncBN refuses a CPU: several there keep their own."""
    if isinstance(node, dict):
        if node.get("type") == "SyncBN":
            node["type"] = "BN"
        for value in node.values():
            _replace_synchronised_norm(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _replace_synchronised_norm(value)
