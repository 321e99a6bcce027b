"""Budgets: limits, and schedules that shrink with the training."""

import pytest
from mmengine.config import ConfigDict

from contract.errors import UserError
from engine.budget import Budget, resolve, shorten_schedule


def test_defaults():
    assert resolve("full", {}) == Budget(1.0, None, None, None)
    assert resolve("short", {}) == Budget(0.25, None, None, None)
    assert resolve("smoke", {}) == Budget(1.0, 2, 2, 4)


def test_config_limits_override_defaults():
    overrides = {"smoke": {"test_images": 8}, "short": {"fraction": 0.1}}
    assert resolve("smoke", overrides) == Budget(1.0, 2, 2, 8)
    assert resolve("short", overrides).fraction == 0.1
    assert resolve("full", overrides) == Budget()


def test_unknown_names():
    with pytest.raises(UserError, match="unknown budget 'smok'; did you mean 'smoke'"):
        resolve("smok", {})
    with pytest.raises(UserError, match=r"budgets\['short'\]: 'fractoin'; did you mean 'fraction'"):
        resolve("short", {"short": {"fractoin": 0.5}})


def _config(loop, *schedulers):
    return ConfigDict(train_cfg=loop, param_scheduler=list(schedulers))


def _by_epoch(epochs, warmup):
    converted = dict(by_epoch=True, convert_to_iter_based=True)
    return _config(
        dict(by_epoch=True, max_epochs=epochs, val_interval=5),
        dict(type="WarmUp", begin=0, end=warmup, **converted),
        dict(type="MultiStepLR", milestones=[epochs // 4, epochs // 2], end=epochs, **converted),
        dict(type="CosineAnnealingLR", begin=warmup, end=epochs, T_max=epochs, **converted),
    )


def test_full_is_identity():
    config = _by_epoch(120, 5)
    shorten_schedule(config, Budget())
    assert config == _by_epoch(120, 5)


def test_fraction_scales_loop_and_schedulers():
    config = _by_epoch(120, 5)
    shorten_schedule(config, Budget(fraction=0.25))
    warm, step, cosine = config.param_scheduler
    assert (config.train_cfg.max_epochs, config.train_cfg.val_interval) == (30, 5)
    assert (warm.begin, warm.end) == (0, 1.25)
    assert (step.milestones, step.end) == ([8, 15], 30)
    assert (cosine.begin, cosine.end, cosine.T_max) == (1.25, 30, 30)


def test_schedulers_round_like_loop():
    config = _by_epoch(6, 1)
    shorten_schedule(config, Budget(fraction=0.25))
    warm, _, cosine = config.param_scheduler
    # A quarter of 6 epochs is 1.5, which becomes 2; a warm-up of one sixth stays one sixth.
    assert (config.train_cfg.max_epochs, config.train_cfg.val_interval) == (2, 2)
    assert cosine.end == 2
    assert 0 < warm.end == pytest.approx(1 / 3)


def test_iterations_and_schedulers_stay_positive():
    config = _config(
        dict(type="IterBasedTrainLoop", max_iters=100, val_interval=50),
        dict(type="LinearLR", begin=0, end=1, by_epoch=False),
        dict(type="PolyLR", begin=0, end=100, by_epoch=False),
        dict(type="MultiStepLR", milestones=[67, 90], by_epoch=False),
    )
    shorten_schedule(config, Budget(fraction=0.25))
    linear, poly, step = config.param_scheduler
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (25, 25)
    assert (linear.begin, linear.end) == (0, 1)
    assert (poly.end, step.milestones) == (25, [17, 22])
    assert all(type(value) is int for value in (linear.end, poly.end, *step.milestones))


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        (dict(max_iters=500, val_interval=50), dict(max_iters=2, val_interval=2)),
        # One epoch of a data set that is cut to two batches.
        (dict(max_epochs=8, val_interval=2), dict(max_epochs=1, val_interval=1)),
    ],
)
def test_iterations_set_length(loop, expected):
    config = _config(dict(loop))
    shorten_schedule(config, resolve("smoke", {}))
    assert config.train_cfg == expected
