"""Read the losses of training, and stop if one is not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.registry import HOOKS
from torch import Tensor

from contract.errors import UserError

# Iterations between two readings on a GPU, and between two lines of the log.
INTERVAL = 50


@HOOKS.register_module()
class PositionHook(RuntimeInfoHook):
    """mmengine's `RuntimeInfoHook` without the losses, which it would read from the device in every iteration."""

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Leave the losses to `NonFiniteLossHook`."""


@dataclass(frozen=True)
class _Step:
    """The losses of an iteration, on the device.

    Attributes:
        epoch: Counted from 1.
        iteration: Counted from 1.
        lr: The learning rate.
        names: Of the loss terms.
        values: The terms, as scalars.
    """

    epoch: int
    iteration: int
    lr: float
    names: tuple[str, ...]
    values: list[Tensor] = field(repr=False)


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Store the losses in the message hub, and stop at the first one that is not a finite number.

    Reading a value from a GPU waits for all of its work. The losses of several iterations are therefore read together:
    before the log, a checkpoint or a validation needs them. A bad one is noticed at most `interval` iterations late.

    Args:
        interval: Iterations between two readings; 1 on a CPU, where reading costs nothing.

    Raises:
        UserError: With epoch, iteration, the loss terms and the learning rate at the first bad loss.
    """

    # Before the hooks that log, save and validate.
    priority = "HIGH"

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval
        self.unread: list[_Step] = []

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Take the losses of the iteration, and read them if the log follows."""
        outputs = outputs or {}
        self.unread.append(
            _Step(
                runner.epoch + 1,
                runner.iter + 1,
                runner.optim_wrapper.get_lr()["lr"][0],
                tuple(outputs),
                [torch.as_tensor(value).detach() for value in outputs.values()],
            )
        )
        if (
            self.every_n_inner_iters(batch_idx, self.interval)
            or self.every_n_train_iters(runner, self.interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or self.is_last_train_iter(runner)
        ):
            self.read(runner)

    def before_val(self, runner: Any) -> None:
        """Do not validate a network whose loss was not finite."""
        self.read(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Complete the histories of a checkpoint; mmengine has copied them before."""
        if self.unread:
            self.read(runner)
            hub = runner.message_hub.state_dict()
            checkpoint["message_hub"]["log_scalars"] = hub["log_scalars"]
            checkpoint["message_hub"]["resumed_keys"] = hub["resumed_keys"]

    def read(self, runner: Any) -> None:
        """Move the losses to the message hub, all in one transfer."""
        steps, self.unread = self.unread, []
        tensors = [value.double().reshape(()) for step in steps for value in step.values]
        numbers = iter(torch.stack(tensors).tolist() if tensors else ())
        for step in steps:
            terms = {name: next(numbers) for name in step.names}
            for name, value in terms.items():
                runner.message_hub.update_scalar(f"train/{name}", value)
            if not math.isfinite(terms.get("loss", 0.0)):
                raise UserError(
                    f"the loss became {terms['loss']} in epoch {step.epoch}, iteration {step.iteration} "
                    f"(terms {terms}, learning rate {step.lr:.4g}); lower the learning rate, lengthen the warm-up, or "
                    "look at the data with `python -m benchmarks data verify`"
                )
