"""One training step and one prediction of a task, without a run around them."""

from dataclasses import dataclass

import torch
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.runner.utils import set_random_seed

from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare
from support.runners import forget_runs


@dataclass(frozen=True)
class Step:
    """What a step computed.

    Attributes:
        losses: The logged values by name.
        weights: Parameters and statistics after the step, on the CPU.
        predictions: Of the first test batch after the step.
        devices: Types of the devices of all parameters and buffers.
    """

    losses: dict
    weights: dict
    predictions: object
    devices: set


def config_of(task, config, data, **options):
    """Return the Runner config of a job of two images a step."""
    forget_runs()
    made = Options(config=str(config), data=data, work_dir=data, budget="smoke", **options)
    return prepare(task, resolve_job(made))


def one_step(task, config):
    """Take one training step with the data preprocessor, and predict the first test batch."""
    set_random_seed(0)
    with DefaultScope.overwrite_default_scope(task.scope):
        model = MODELS.build(config.model)
        model.to(get_device()).train()
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        batch = next(iter(Runner.build_dataloader(config.train_dataloader, seed=0)))
        set_random_seed(0)
        losses = model.train_step(batch, wrapper)
        model.eval()
        test = next(iter(Runner.build_dataloader(config.val_dataloader, seed=0)))
        with torch.no_grad():
            predictions = model.val_step(test)
    tensors = model.state_dict()
    return Step(
        {name: float(value) for name, value in losses.items()},
        {name: tensor.cpu() for name, tensor in tensors.items()},
        predictions,
        {tensor.device.type for tensor in (*model.parameters(), *model.buffers())},
    )
