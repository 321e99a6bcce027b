"""Connect a task's network with the choice of the images of a forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from torch import Tensor

from engine.job import Job
from engine.measure.memory import StepMemory, step_memory
from engine.measure.preserve_state import preserve_state
from engine.measure.samples import spaced
from engine.runner.accumulation import DeviceBatchHook
from engine.runner.batch import describe_batch, division
from engine.runner.distributed import world_size

if TYPE_CHECKING:
    from engine.task import Task

# Training images may have several sizes; the largest of so many stands for all.
_IMAGES = 8


def attach(task: Task, job: Job, config: Config, runner: Any) -> None:
    """Let the Runner's `DeviceBatchHook`, if there is one, ask the device for memory, and record what it chooses.

    Args:
        task: The task.
        job: The job.
        config: The task's config, in which the chosen number of images is stored.
        runner: A Runner of it, before training.
    """

    def announce() -> None:
        if is_main_process():
            described = describe_batch(config, world_size(), job.options.lr_factor)
            print(f"batch:     {described}", flush=True)

    hook = next((hook for hook in runner.hooks if isinstance(hook, DeviceBatchHook)), None)
    made = division(config)
    if hook is None or made is None:
        announce()
        return

    def record(size: int) -> None:
        made.size = size
        announce()

    hook.chosen = record
    if job.precision.device_type == "cuda":
        hook.estimate = lambda runner: estimate(task, job, runner)


def estimate(task: Task, job: Job, runner: Any) -> StepMemory:
    """Return the memory of a training step on the current device."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    with preserve_state(model):
        height, width = _training_size(runner, model)
    # The loop would do it a moment later.
    model.train()

    def run(network: Any, images: int, device: torch.device) -> Tensor:
        return task.loss_of_shapes(network, torch.empty(images, 3, height, width, device=device))

    dtype = getattr(torch, job.precision.dtype) if job.precision.mixed else None
    sgd = isinstance(runner.optim_wrapper.optimizer, torch.optim.SGD)
    return step_memory(
        model,
        run,
        device=job.precision.device_type,
        dtype=dtype,
        state_per_weight=1 if sgd else 2,
    )


def _training_size(runner: Any, model: Any) -> tuple[int, int]:
    """Return height and width of a training image as the network gets it, the largest of a few."""
    loader = runner.train_dataloader
    sizes = []
    for position in spaced(len(loader.dataset), _IMAGES):
        data = model.data_preprocessor(loader.collate_fn([loader.dataset[position]]), True)
        sizes.append(tuple(data["inputs"].shape[-2:]))
    height, width = max(sizes, key=lambda size: size[0] * size[1])
    return height, width
