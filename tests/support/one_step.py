"""One training step and one prediction of a task, without a run around them."""

import copy
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
        devices: Types of the devices of parameters, buffers and the optimiser's state.
    """

    losses: dict
    weights: dict
    predictions: object
    devices: set


def config_of(task, config, data, budget="smoke", **options):
    """Return the Runner config of a job; the smoke budget has two images a step."""
    forget_runs()
    made = Options(config=str(config), data=data, work_dir=data, budget=budget, **options)
    return prepare(task, resolve_job(made))


def batches_of(task, config):
    """Return the first training batch and the first test batch, as the loader returns them."""
    with DefaultScope.overwrite_default_scope(task.scope):
        return [
            next(iter(Runner.build_dataloader(loader, seed=0)))
            for loader in (config.train_dataloader, config.val_dataloader)
        ]


def one_step(task, config, batches):
    """Take one training step with the data preprocessor, and predict the test batch."""
    train, test = copy.deepcopy(batches)
    set_random_seed(0)
    with DefaultScope.overwrite_default_scope(task.scope):
        model = MODELS.build(config.model).to(get_device()).train()
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        losses = model.train_step(train, wrapper)
        model.eval()
        with torch.no_grad():
            predictions = model.val_step(test)
    # An optimiser keeps its own count of steps on the CPU.
    state = [
        value
        for values in wrapper.optimizer.state.values()
        for value in values.values()
        if isinstance(value, torch.Tensor) and value.dim()
    ]
    tensors = [*model.parameters(), *model.buffers(), *state]
    return Step(
        {name: value.item() for name, value in losses.items()},
        {name: tensor.cpu() for name, tensor in model.state_dict().items()},
        predictions,
        {tensor.device.type for tensor in tensors},
    )
