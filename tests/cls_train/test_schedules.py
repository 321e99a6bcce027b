"""Learning rates, read off an optimiser that the assembled schedulers drive."""

import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from cls_train.assemble import CONFIGS, optimiser_config
from cls_train.schedules import schedulers as make_schedulers
from contract.errors import UserError
from engine import config as configs
from engine.budget import Budget, shorten_schedule

STEPS = 10


def _recipe(*tricks, **overrides):
    return configs.load(CONFIGS, "imagenet", tricks, overrides)


def _schedulers(recipe, epochs):
    warmup = recipe.warmup_epochs if recipe.warmup else 0
    return make_schedulers(recipe.schedule, epochs, warmup)


def _rates(recipe, epochs, budget=None):
    """The learning rate of every iteration, `STEPS` to an epoch."""
    model = nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, optimiser_config(recipe))
    config = ConfigDict(
        train_cfg=dict(max_epochs=epochs), param_scheduler=_schedulers(recipe, epochs)
    )
    shorten_schedule(config, budget or Budget())
    schedulers = [
        PARAM_SCHEDULERS.build(s, default_args=dict(optimizer=wrapper, epoch_length=STEPS))
        for s in config.param_scheduler
    ]
    rates = []
    for step in range(1, config.train_cfg.max_epochs * STEPS + 1):
        rates.append(wrapper.get_lr()["lr"][0])
        wrapper.update_params(model(torch.ones(1, 2)).sum())
        for scheduler in schedulers:
            # As mmengine's ParamSchedulerHook does.
            if not scheduler.by_epoch or step % STEPS == 0:
                scheduler.step()
    return rates


def test_paper_step_decay():
    rates = _rates(_recipe(), 120)
    assert len(rates) == 1200
    expected = [0.1] * 300 + [0.01] * 300 + [0.001] * 300 + [0.0001] * 300
    assert rates == pytest.approx(expected, rel=1e-9)


def test_step_milestones_scale_with_epochs():
    rates = _rates(_recipe(), 6)
    # A quarter, a half and three quarters of 6 epochs, rounded up: after 2, 3 and 5.
    assert rates == pytest.approx([0.1] * 20 + [0.01] * 10 + [0.001] * 20 + [0.0001] * 10)


EFFICIENT = ("large_batch", "linear_scaling", "warmup")


def test_paper_warmup():
    rates = _rates(_recipe(*EFFICIENT), 120)
    m = 5 * STEPS
    assert rates[:m] == pytest.approx([i * 0.4 / m for i in range(1, m + 1)], rel=1e-9)
    assert rates[m:300] == pytest.approx([0.4] * (300 - m))
    assert rates[300] == pytest.approx(0.04)


def test_cosine_after_warmup():
    rates = _rates(_recipe(*EFFICIENT, "cosine"), 120)
    m, total = 50, 1200
    length = total - m
    assert rates[m] == pytest.approx(0.4)
    assert rates[m + length // 2] == pytest.approx(0.2, rel=1e-6)
    assert rates[-1] == pytest.approx(
        0.2 * (1 + math.cos(math.pi * (length - 1) / length)), rel=1e-3
    )
    expected = [0.2 * (1 + math.cos(math.pi * t / length)) for t in range(length)]
    assert rates[m:] == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert rates[m - 1] == pytest.approx(0.4)


def test_cosine_without_warmup():
    rates = _rates(_recipe("cosine"), 10)
    assert rates == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * t / 100)) for t in range(100)], rel=1e-4, abs=1e-9
    )


@pytest.mark.parametrize(
    ("tricks", "lr"),
    [((), 0.1), (("large_batch",), 0.1), (("linear_scaling",), 0.1), (EFFICIENT, 0.4)],
)
def test_linear_scaling_follows_batch(tricks, lr):
    assert optimiser_config(_recipe(*tricks))["optimizer"]["lr"] == pytest.approx(lr)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_warmup_longer_than_training(epochs):
    rates = _rates(_recipe(*EFFICIENT, "cosine"), epochs)
    m = epochs * STEPS
    assert rates == pytest.approx([i * 0.4 / m for i in range(1, m + 1)], rel=1e-9)


@pytest.mark.parametrize("warmup_epochs", [1, 0.05])
def test_short_budget_keeps_shape(warmup_epochs):
    recipe = _recipe(*EFFICIENT, "cosine", warmup_epochs=warmup_epochs)
    rates = _rates(recipe, 6, Budget(fraction=0.25))
    # A quarter of 6 epochs is rounded to 2, so one epoch of warm-up becomes a third of one.
    m = max(1, int(warmup_epochs * STEPS * 2 / 6))
    assert len(rates) == 20
    assert rates[:m] == pytest.approx([i * 0.4 / m for i in range(1, m + 1)], rel=1e-6)
    assert rates[-1] < 0.02
    assert max(rates) == pytest.approx(0.4)


def test_unknown_kinds():
    with pytest.raises(UserError, match="unknown schedule 'cosin'; did you mean 'cosine'"):
        _schedulers(_recipe(**{"schedule.type": "cosin"}), 3)
    with pytest.raises(UserError, match="unknown lr_scaling 'linaer'; did you mean 'linear'"):
        optimiser_config(_recipe(lr_scaling="linaer"))


def test_exponential_decay_by_epoch():
    rates = _rates(_recipe("exponential"), 120)
    assert rates == pytest.approx([0.1 * 0.94 ** (i // STEPS) for i in range(1200)], rel=1e-9)
    # A quarter of the training decays as far.
    short = _rates(_recipe("exponential"), 120, Budget(fraction=0.25))
    assert len(short) == 300
    assert short[-1] == pytest.approx(0.1 * 0.94 ** (4 * 29), rel=1e-9)


def test_polynomial_decay():
    rates = _rates(_recipe("polynomial", "warmup"), 120)
    assert rates[:50] == pytest.approx([0.1 * (i + 1) / 50 for i in range(50)])
    # mmengine's reaches 0 in the last iteration, which is the 1150th after the warm-up.
    expected = [0.1 * (1 - i / 1149) ** 2 for i in range(1150)]
    assert rates[50:] == pytest.approx(expected, rel=1e-6)


def test_step_every_8_epochs():
    rates = _rates(_recipe("step_every"), 120)
    assert rates == pytest.approx([0.1 * 0.96 ** (i // 80) for i in range(1200)], rel=1e-9)


def test_step_then_cosine():
    rates = _rates(_recipe("step_cosine"), 120)
    assert rates[:600] == pytest.approx([0.1] * 300 + [0.01] * 300, rel=1e-9)
    expected = [0.005 * (1 + math.cos(math.pi * i / 600)) for i in range(600)]
    assert rates[600:] == pytest.approx(expected, rel=1e-6)


def test_cosine_ends_and_middle():
    rates = _rates(_recipe("cosine"), 120)
    assert rates[0] == pytest.approx(0.1)
    assert rates[600] == pytest.approx(0.05)
    # The last iteration is one step before T.
    assert rates[-1] == pytest.approx(0.05 * (1 + math.cos(math.pi * 1199 / 1200)), rel=1e-3)


@pytest.mark.parametrize(
    "schedule",
    [
        dict(type="cosine", power=2),
        dict(type="polynomial"),
        dict(type="step_every", every=2, gamma=0.1),
    ],
)
def test_wrong_arguments(schedule):
    with pytest.raises(UserError, match=r"the schedule|step_every every=2"):
        make_schedulers(schedule, 120, 0)
