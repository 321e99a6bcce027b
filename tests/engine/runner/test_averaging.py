"""Averaged weights: their momentum, their start, and their description."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from torch import nn

from contract.errors import UserError
from engine.runner.averaging import (
    DebiasedAverage,
    EpochEMAHook,
    describe_weights,
    measured_model,
    wire_average,
)


def _runner(model, iterations=8):
    logger = SimpleNamespace(info=lambda *_: None)
    return SimpleNamespace(
        model=model, train_dataloader=range(iterations), iter=0, epoch=0, logger=logger, hooks=[]
    )


def _walk(model, steps):
    """Random walk of a model's parameters and statistics; yields its state after each step."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=generator))
                else:
                    tensor.add_(1)
        yield {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("momentum", [0.5, 0.1, 0.001])
def test_average_uses_seen_weights_only(momentum):
    model = nn.BatchNorm1d(3)
    average = DebiasedAverage(model, momentum=momentum, update_buffers=True)
    states = []
    for state in _walk(model, 9):
        average.update_parameters(model)
        states.append(state)
        weights = torch.tensor([(1 - momentum) ** age for age in reversed(range(len(states)))])
        weights = (weights / weights.sum()).tolist()
        for name, found in average.module.state_dict().items():
            if found.is_floating_point():
                expected = sum(s * st[name] for s, st in zip(weights, states, strict=True))
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("epochs", "iterations", "momentum"),
    [
        (1.0, 100, 0.01),
        (2.0, 100, 0.005),
        (0.5, 100, 0.02),
        # The newest weights may not outweigh the rest.
        (0.5, 2, 0.5),
        (0.01, 100, 0.5),
    ],
)
def test_momentum_from_epoch_length(epochs, iterations, momentum):
    hook = EpochEMAHook(epochs)
    hook.before_run(_runner(nn.Linear(2, 2), iterations))
    assert hook.ema_model.momentum == pytest.approx(momentum)
    assert hook.ema_model.update_buffers


@pytest.mark.parametrize("epochs", [0, -1, float("nan")])
def test_invalid_age(epochs):
    with pytest.raises(UserError, match=r"mean age of the averaged weights must be above 0"):
        EpochEMAHook(epochs)


def test_built_by_name():
    hook = HOOKS.build(dict(type="EpochEMAHook", epochs=3))
    assert isinstance(hook, EMAHook) and hook.epochs == 3


def test_validation_uses_average_training_uses_weights():
    model = nn.BatchNorm1d(3)
    runner, hook = _runner(model), EpochEMAHook()
    hook.before_run(runner)
    states = []
    for state in _walk(model, 3):
        hook.after_train_iter(runner, 0)
        states.append(state)
    state = states[-1]
    average = {k: v.clone() for k, v in hook.ema_model.module.state_dict().items()}
    assert not torch.allclose(average["weight"], state["weight"])
    hook.before_val_epoch(runner)
    assert all(torch.equal(average[k], v) for k, v in model.state_dict().items())
    hook.after_val_epoch(runner)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


def test_checkpoint_restores_weights_and_average():
    def fresh():
        model = nn.BatchNorm1d(3)
        runner, hook = _runner(model), EpochEMAHook()
        hook.before_run(runner)
        return model, runner, hook

    model, runner, hook = fresh()
    walk = _walk(model, 6)
    for _ in range(3):
        next(walk)
        hook.after_train_iter(runner, 0)
    checkpoint = {"state_dict": {k: v.clone() for k, v in model.state_dict().items()}}
    raw = dict(checkpoint["state_dict"])
    hook.before_save_checkpoint(runner, checkpoint)
    average = {k: v.clone() for k, v in hook.ema_model.module.state_dict().items()}
    assert all(torch.equal(average[k], v) for k, v in checkpoint["state_dict"].items())

    other, second, resumed = fresh()
    second._resume = True
    resumed.after_load_checkpoint(second, checkpoint)
    assert all(torch.equal(raw[k], v) for k, v in checkpoint["state_dict"].items())
    assert int(resumed.ema_model.steps) == 3
    for state in walk:
        other.load_state_dict(state)
        hook.after_train_iter(runner, 0)
        resumed.after_train_iter(second, 0)
    for one, two in zip(
        hook.ema_model.state_dict().values(), resumed.ema_model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)


def test_measured_model():
    runner = _runner(nn.Linear(2, 2))
    assert measured_model(runner) is runner.model
    hook = EpochEMAHook()
    hook.before_run(runner)
    runner.hooks = [SimpleNamespace(), hook]
    assert measured_model(runner) is hook.ema_model.module


def test_key_becomes_hook_and_description():
    config = Config(dict(ema=None))
    wire_average(config)
    assert config.to_dict() == {} and describe_weights(config) == {}
    hook = dict(type="EpochEMAHook", epochs=0.5)
    config = Config(dict(ema=hook, custom_hooks=[dict(type="Other")]))
    wire_average(config)
    assert config.to_dict() == {"custom_hooks": [{"type": "Other"}, hook]}
    assert describe_weights(config) == {
        "weights": "exponential moving average, mean age 0.5 epoch(s)"
    }
