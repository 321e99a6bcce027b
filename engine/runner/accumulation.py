"""Gradient accumulation: the published batch on fewer devices, in several micro-batches per step.

A published schedule counts steps of its own batch (16 images on 8 GPUs for Faster R-CNN on VOC). On one device, a
loader that gives batches of 2 would see an eighth of the images in as many iterations. Here the loader returns all
images of a process's step, and the step processes them in micro-batches of the config's size. Iterations, epochs,
warm-up and checkpoints keep the schedule. Trained batch statistics are those of a micro-batch, as on several devices.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from torch import Tensor, nn


def wire_accumulation(config: Config, processes: int) -> None:
    """Let the loader return the published batch, in place, if `auto_scale_lr` states it and there are too few devices.

    If the batch does not divide evenly, the learning rate is scaled: 3 processes of 2 images make 12 of 16, at 12/16
    of the rate.
    """
    rule, size = config.auto_scale_lr, config.train_dataloader.batch_size
    parts = rule["base_batch_size"] // (size * processes) if rule.get("enable") else 1
    if parts <= 1:
        return
    config.train_dataloader.batch_size = size * parts
    config.custom_hooks = [
        *(config.get("custom_hooks") or []),
        ConfigDict(type=MicroBatchHook.__name__, size=size),
    ]


def describe_batch(config: Config, processes: int, lr_factor: float = 1.0) -> str:
    """Describe the images of a step, how they are divided, and the learning rate, with `--lr-factor` if it is not 1."""
    size = config.train_dataloader.batch_size
    parts = [f"{processes} processes"] if processes > 1 else []
    for hook in config.get("custom_hooks") or []:
        if hook.type == MicroBatchHook.__name__:
            parts.append(f"{size // hook.size} micro-batches")
            size = hook.size
    total = config.train_dataloader.batch_size * processes
    made_of = f" ({' x '.join([*parts, str(size)])})" if parts else ""
    rule = config.auto_scale_lr
    ratio = total / rule["base_batch_size"] if rule.get("enable") else 1
    times = f"{ratio * lr_factor:g}"
    rate = "the config's" if times == "1" else f"{times} of the config's"
    asked = "" if lr_factor == 1 else f" (--lr-factor {lr_factor:g})"
    return f"{total} images a step{made_of}, learning rate {rate}{asked}"


@HOOKS.register_module()
class MicroBatchHook(Hook):
    """Train on each batch in micro-batches.

    Args:
        size: Images of a micro-batch; the last one of an epoch may have fewer.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def before_train(self, runner: Any) -> None:
        """Replace the model's `train_step`, as mmengine's compilation does."""
        model = runner.model
        model.train_step = functools.partial(_train_step, model, type(model).train_step, self.size)


def _train_step(
    model: nn.Module,
    train_step: Callable[..., dict[str, Tensor]],
    size: int,
    data: dict[str, Any],
    optim_wrapper: OptimWrapper,
) -> dict[str, Tensor]:
    count = len(data["inputs"])
    logs: dict[str, Tensor] = {}
    for start in range(0, count, size):
        part = {key: values[start : start + size] for key, values in data.items()}
        share = _ShareOfStep(optim_wrapper, len(part["inputs"]) / count, last=start + size >= count)
        for name, value in train_step(model, part, optim_wrapper=share).items():
            logs[name] = logs.get(name, 0) + share.fraction * value
    return logs


class _ShareOfStep:
    """The interface of an optimiser wrapper that `train_step` needs, for one micro-batch of a step."""

    def __init__(self, wrapper: OptimWrapper, fraction: float, *, last: bool) -> None:
        self.wrapper, self.fraction, self.last = wrapper, fraction, last

    @contextlib.contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        """Enter the wrapper's context; processes exchange gradients only with the last micro-batch."""
        silent = hasattr(model, "no_sync") and not self.last
        with (
            model.no_sync() if silent else contextlib.nullcontext(),
            self.wrapper.optim_context(model),
        ):
            yield

    def update_params(self, loss: Tensor) -> None:
        """Add the gradients of the loss, a mean over the micro-batch; step with the last one."""
        self.wrapper.backward(self.fraction * loss)
        if self.last:
            self.wrapper.step()
            self.wrapper.zero_grad()
