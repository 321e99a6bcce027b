"""A factor on the learning rate, against the optimiser's rates."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import nn

import cls_train.optimisers  # noqa: F401  (it registers itself)
from contract.errors import UserError
from engine.budget import Budget
from engine.cli import Options
from engine.runner.learning_rate import scale_rates
from engine.runner.precision import Precision
from engine.wiring import wire

LR = 0.02
SCHEDULES = {
    "poly with an end": [dict(type="PolyLR", eta_min=1e-3, power=0.9, begin=0, end=20)],
    "warm-up and steps": [
        dict(type="LinearLR", start_factor=0.05, begin=0, end=5),
        dict(type="MultiStepLR", begin=0, end=20, milestones=[9, 14], gamma=0.1),
    ],
    "cosine with an end": [dict(type="CosineAnnealingLR", eta_min=5e-4, begin=0, end=20)],
    "none": [],
}


def _config(schedule=(), **optimiser):
    optimiser = {"type": "SGD", "lr": LR, "momentum": 0.9} | optimiser
    return Config(
        dict(
            model=dict(backbone=dict()),
            train_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(type="D")),
            val_dataloader=dict(batch_size=1, num_workers=0, dataset=dict(type="V")),
            optim_wrapper=dict(optimizer=optimiser),
            param_scheduler=[dict(entry, by_epoch=False) for entry in schedule],
            train_cfg=dict(max_iters=20, val_interval=10),
            auto_scale_lr=dict(enable=True, base_batch_size=16),
        )
    )


def _wired(factor, monkeypatch, processes=1, budget=None, schedule=()):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    if processes > 1:
        monkeypatch.setenv("RANK", "0")
    config = _config(schedule)
    options = Options("c", Path("w"), Path("d"), lr_factor=factor)
    wire(config, "det", options, Precision("float32", "cpu", "test"), budget or Budget())
    return config


def _rates(config, processes=1):
    """The learning rate of each iteration, as mmengine's Runner makes it from a wired config."""
    parameter = nn.Parameter(torch.ones(1))
    wrapper = build_optim_wrapper(nn.ParameterList([parameter]), config.optim_wrapper)
    runner = SimpleNamespace(
        _train_dataloader=config.train_dataloader,
        world_size=processes,
        logger=MMLogger.get_instance("rates"),
        param_schedulers=None,
    )
    Runner.scale_lr(runner, wrapper, config.get("auto_scale_lr"))
    schedulers = [
        PARAM_SCHEDULERS.build({**entry, "optimizer": wrapper}) for entry in config.param_scheduler
    ]
    rates = []
    for _ in range(20):
        rates.append(wrapper.get_lr()["lr"][0])
        parameter.grad = torch.zeros(1)
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_multiplies_every_scheduled_rate(monkeypatch, schedule):
    plain = _rates(_wired(1.0, monkeypatch, schedule=schedule))
    assert plain[4 if "LinearLR" in str(schedule) else 0] == pytest.approx(LR, rel=1e-12)
    for factor in (0.3, 3.0):
        found = _rates(_wired(factor, monkeypatch, schedule=schedule))
        assert found == pytest.approx([factor * rate for rate in plain], rel=1e-12)


@pytest.mark.parametrize(
    ("processes", "budget", "fraction"),
    [
        # Eight micro-batches of 2 make up the 16 that the rate belongs to.
        (1, None, 1.0),
        (8, None, 1.0),
        # 3 processes with 5 images each make 15 of 16; a smoke run's 2 images are an eighth.
        (3, None, 15 / 16),
        (1, Budget(iterations=2, batch_size=2), 0.125),
    ],
)
def test_multiplies_after_batch_scaling(monkeypatch, processes, budget, fraction):
    rates = _rates(_wired(3.0, monkeypatch, processes, budget), processes)
    assert rates[0] == pytest.approx(LR * 3 * fraction, rel=1e-12)


def test_factor_one_keeps_config():
    config = _config(SCHEDULES["poly with an end"])
    before = config.to_dict()
    scale_rates(config, 1.0)
    assert config.to_dict() == before


def test_multiplies_adabound_final_lr():
    steps = []
    for factor in (1.0, 0.5):
        config = _config(type="AdaBound", lr=1e-3, final_lr=0.1, gamma=0.5)
        del config.optim_wrapper.optimizer["momentum"]
        scale_rates(config, factor)
        torch.manual_seed(0)
        parameter = nn.Parameter(torch.ones(3))
        wrapper = build_optim_wrapper(nn.ParameterList([parameter]), config.optim_wrapper)
        for step in range(4):
            parameter.grad = torch.tensor([1.0, -0.1, 30.0]) * (step + 1)
            wrapper.step()
        steps.append((parameter.detach() - 1).tolist())
    # All its rates are halved, and so is each step: the gradients do not depend on the weights.
    assert steps[1] == pytest.approx([0.5 * step for step in steps[0]], rel=1e-3)


def test_optimiser_without_lr():
    config = _config()
    del config.optim_wrapper.optimizer["lr"]
    with pytest.raises(UserError, match=r"--lr-factor 3 was given, and .* SGD states no lr"):
        scale_rates(config, 3.0)
