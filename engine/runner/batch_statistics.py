"""Batch statistics: their mean over the processes, and their average in runs of a few iterations."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from torch import nn


def agree_on_statistics(runner: Any) -> None:
    """Replace the floating-point buffers by their mean over the processes, those of averaged weights included.

    Every process updates running statistics with its own images, so that without this they would validate different
    networks, and a checkpoint would hold those of one process. mmengine's `SyncBuffersHook` takes the same mean, but
    not of averaged weights, and after the checkpoints of iteration-based loops. Integer buffers, which count batches,
    are equal anyway.

    All processes must call this at the same time.
    """
    processes = get_world_size()
    if processes == 1:
        return
    buffers = _statistics(runner)
    if not buffers:
        return
    # In float64 the mean of equal float32 values is that value exactly, for any number of processes: constants stay,
    # and a resumed run, which skips the mean of the checkpoint, goes on with the same numbers.
    total = torch.cat([buffer.detach().double().flatten() for buffer in buffers])
    all_reduce(total)
    means = (total / processes).split([buffer.numel() for buffer in buffers])
    for buffer, mean in zip(buffers, means, strict=True):
        buffer.copy_(mean.view_as(buffer))


def _statistics(runner: Any) -> list[torch.Tensor]:
    """Return the floating-point buffers of the model and of averaged weights."""
    modules = [runner.model]
    modules += [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    return [b for module in modules for b in module.buffers() if b.is_floating_point()]


def every_statistics(runner: Any) -> list[torch.Tensor] | None:
    """Return the statistics of every process, by rank, as one vector each; None with one process.

    All processes must call this at the same time.
    """
    buffers = _statistics(runner)
    if get_world_size() == 1 or not buffers:
        return None
    # In float64, which holds every value of a narrower type.
    own = torch.cat([buffer.detach().double().flatten() for buffer in buffers])
    return [vector.cpu() for vector in all_gather(own)]


def take_statistics(runner: Any, every: list[torch.Tensor]) -> None:
    """Give this process the statistics that it had when `every_statistics` was called."""
    buffers = _statistics(runner)
    own = every[get_rank()].split([buffer.numel() for buffer in buffers])
    for buffer, values in zip(buffers, own, strict=True):
        buffer.copy_(values.view_as(buffer))


@HOOKS.register_module()
class AgreeingStatisticsHook(Hook):
    """Let all processes have the same batch statistics after each epoch and in each validation.

    `PositionCheckpointHook` does the same before each scheduled checkpoint.
    """

    # Before the checkpoint of an epoch.
    priority = "ABOVE_NORMAL"

    def after_train_epoch(self, runner: Any) -> None:
        """Agree before the checkpoint and the validation of the epoch."""
        agree_on_statistics(runner)

    def before_val_epoch(self, runner: Any) -> None:
        """Agree before a validation, which in an iteration-based loop comes within an epoch."""
        agree_on_statistics(runner)


@HOOKS.register_module()
class CumulativeStatisticsHook(Hook):
    """Use a cumulative instead of an exponential average of batch statistics, for runs of a few iterations.

    With the usual momentum of 0.1, the running statistics would still be near their initial 0 and 1. A network that
    is exported with them and then frozen would scale up its features layer by layer, up to NaN.
    """

    def before_train(self, runner: Any) -> None:
        """Set every batch norm's momentum to None, which is torch's cumulative average."""
        for module in runner.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = None
