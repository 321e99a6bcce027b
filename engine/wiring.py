"""Complete a task's config for mmengine's Runner: seeds, precision, hooks, budget and folders."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

from contract.errors import UserError
from engine.budget import Budget, shorten_schedule
from engine.cli import Options
from engine.runner.batch import KEY as DEVICE_BATCH_SIZE
from engine.runner.batch import checked_size, wire_batch
from engine.runner.batch_sampler import ReplayedBatchSampler
from engine.runner.batch_statistics import AgreeingStatisticsHook, CumulativeStatisticsHook
from engine.runner.checkpoint import PositionCheckpointHook
from engine.runner.distributed import AnyDeviceDistributedDataParallel, launched, world_size
from engine.runner.epoch_loop import ResumableEpochTrainLoop
from engine.runner.history import BoundedHistoryHook
from engine.runner.learning_rate import scale_rates
from engine.runner.load_report import LoadReportHook
from engine.runner.loader_processes import wire_processes_of_loaders
from engine.runner.loss_guard import INTERVAL, NonFiniteLossHook, PositionHook
from engine.runner.precision import Precision
from engine.runner.progress import ProgressHook
from engine.runner.seeding import (
    ResumableIterTrainLoop,
    SeedEachIterationHook,
    SeededDataset,
    SeededSampler,
)
from engine.runner.timing import CpuTimeHook
from engine.runner.validation import ValidationHistoryHook


def wire(config: Any, task: str, options: Options, precision: Precision, budget: Budget) -> None:
    """Complete a task's assembled config for mmengine's Runner, in place."""
    shorten_schedule(config, budget)
    config.auto_scale_lr = dict(config.get("auto_scale_lr") or {"base_batch_size": 1, "enable": 0})
    synchronises = launched() and precision.device_type == "cuda"
    passes = None
    if budget.batch_size is None:
        passes = wire_batch(
            config,
            world_size(),
            synchronises=synchronises,
            # The harness then plans again, with another identity.
            keep_numbers=options.identity is not None,
        )
    # Left here by a budget that fixes the batch.
    checked_size(config.pop(DEVICE_BATCH_SIZE, None))
    scale_rates(config, options.lr_factor)
    by_epoch = "max_epochs" in config.train_cfg
    loop = ResumableEpochTrainLoop if by_epoch else ResumableIterTrainLoop
    config.train_cfg.pop("by_epoch", None)
    config.train_cfg.type = loop.__name__
    _wire_loaders(config, options.seed, budget, by_epoch)
    wire_processes_of_loaders(
        config, precision.device_type, by_harness=options.identity is not None
    )
    config.optim_wrapper.update(precision.optim_wrapper())
    config.model.backbone.channels_last = _channels_last(config.model.backbone, precision)
    if options.checkpoint is not None:
        config.model.backbone.checkpoint = str(options.checkpoint)
    config.randomness = dict(seed=options.seed)
    config.work_dir = str(options.work_dir)
    config.launcher = "pytorch" if launched() else "none"
    config.model_wrapper_cfg = dict(
        type=AnyDeviceDistributedDataParallel.__name__, broadcast_buffers=False
    )
    config.resume = options.resume
    config.env_cfg = dict(
        # engine.runner.numerics decides.
        cudnn_benchmark=False,
        mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    )
    if not synchronises:
        _replace_synchronised_norm(config.model)
    _wire_hooks(config, task, options, by_epoch)
    _wire_losses(config, precision.device_type)
    if passes is not None:
        config.custom_hooks.append(passes)
    if budget.iterations is not None:
        config.custom_hooks.append(ConfigDict(type=CumulativeStatisticsHook.__name__))
    if launched():
        _wire_processes(config)


def _channels_last(backbone: Any, precision: Precision) -> bool:
    """Whether NHWC is the faster memory layout; results of the two differ by rounding."""
    # A dilated network is mostly wide 3×3 convolutions, whose float32 gradients on a CPU take 4 to 21% longer in NHWC.
    dilated = backbone.get("output_stride", 32) < 32
    return precision.mixed or precision.device_type != "cpu" or not dilated


def _wire_loaders(config: Config, seed: int, budget: Budget, by_epoch: bool) -> None:
    train, test = config.train_dataloader, config.val_dataloader
    train.batch_size = budget.batch_size or train.batch_size
    limit = None
    if by_epoch and budget.iterations is not None:
        limit = budget.iterations * train.batch_size * world_size()
    if budget.iterations is not None:
        train.num_workers, test.num_workers = budget.workers, 0
    fraction = _train_fraction(config)
    # `_delete_` is not needed: the whole dict is new.
    train.dataset = ConfigDict(
        type=SeededDataset.__name__, dataset=train.dataset, seed=seed, limit=limit
    )
    if fraction is not None:
        train.dataset.fraction = fraction
    train.sampler = ConfigDict(
        type=SeededSampler.__name__, seed=seed, shuffle=True, infinite=not by_epoch
    )
    if by_epoch and train.get("batch_sampler") is None and train.get("drop_last"):
        train.sampler.update(epochs=config.train_cfg.max_epochs, whole=train.batch_size)
    test.dataset = ConfigDict(
        type=SeededDataset.__name__, dataset=test.dataset, seed=seed, limit=budget.test_images
    )
    if train.get("batch_sampler") is not None:
        train.batch_sampler = ConfigDict(
            type=ReplayedBatchSampler.__name__, batches=train.batch_sampler
        )
    config.pop("test_dataloader", None)
    config.pop("test_evaluator", None)
    config.pop("test_cfg", None)


def _wire_processes(config: Config) -> None:
    """Let several processes agree on batch statistics, and exchange results without a shared folder."""
    config.custom_hooks.append(ConfigDict(type=AgreeingStatisticsHook.__name__))
    evaluators = config.get("val_evaluator") or []
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        # mmengine's name for an exchange by the process group, which need not be on GPUs. Its default goes through
        # files in the working directory.
        evaluator.collect_device = "gpu"


def _train_fraction(config: Config) -> float | None:
    """Remove `train_fraction` from a config and return it; None if all images are used.

    Raises:
        UserError: The value is not a fraction.
    """
    fraction = config.pop("train_fraction", None)
    if fraction is None:
        return None
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise UserError(
            f"train_fraction={fraction!r}; expected a number between 0 and 1, as 0.1 for a tenth of the images, or None"
        )
    return float(fraction)


def _wire_hooks(config: Config, task: str, options: Options, by_epoch: bool) -> None:
    hooks = config.setdefault("default_hooks", ConfigDict())
    interval = hooks.get("checkpoint", {}).get("interval", 1)
    loop = config.train_cfg
    if not by_epoch:
        interval = min(interval, loop.max_iters)
    hooks.checkpoint = ConfigDict(
        type=PositionCheckpointHook.__name__,
        interval=interval,
        by_epoch=by_epoch,
        minutes=options.checkpoint_minutes,
    )
    hooks.logger = ConfigDict(type="LoggerHook", interval=INTERVAL, log_metric_by_epoch=by_epoch)
    config.log_processor = ConfigDict(window_size=INTERVAL, by_epoch=by_epoch)
    batch_size = config.train_dataloader.batch_size * world_size()
    config.custom_hooks = [
        *(config.get("custom_hooks") or []),
        ConfigDict(type=SeedEachIterationHook.__name__, seed=options.seed),
        ConfigDict(type=CpuTimeHook.__name__),
        ConfigDict(type=ValidationHistoryHook.__name__),
        ConfigDict(type=ProgressHook.__name__, task=task, batch_size=batch_size),
    ]
    if options.checkpoint is not None:
        config.custom_hooks.append(
            ConfigDict(type=LoadReportHook.__name__, checkpoint=str(options.checkpoint))
        )


def _wire_losses(config: Config, device_type: str) -> None:
    """Read losses rarely from a GPU, and bound their histories."""
    config.default_hooks.runtime_info = ConfigDict(type=PositionHook.__name__)
    interval = 1 if device_type == "cpu" else INTERVAL
    config.custom_hooks += [
        ConfigDict(type=BoundedHistoryHook.__name__),
        ConfigDict(type=NonFiniteLossHook.__name__, interval=interval),
    ]


def _replace_synchronised_norm(node: Any) -> None:
    """Replace SyncBN by BN: a single process has nothing to synchronise, and SyncBN does not run on a CPU."""
    if isinstance(node, dict):
        if node.get("type") == "SyncBN":
            node["type"] = "BN"
        for value in node.values():
            _replace_synchronised_norm(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _replace_synchronised_norm(value)
