"""One or two steps of each optimiser, and of clipping, against the formulas of their papers."""

import math

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from cls_train import optimisers  # noqa: F401  (it registers them)
from cls_train.assemble import CONFIGS, optimiser_config
from contract.errors import UserError
from engine import config as configs

W = [[0.5, -1.0], [2.0, 0.25]]
G = [[0.1, 0.2], [-0.4, 0.05]]


def _model():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(W))
        model.bias.zero_()
    return model


def _step(wrapper, model, gradient=G):
    """One update with a loss whose gradient by the weight is `gradient`, and by the bias 0."""
    wrapper.update_params((model.weight * torch.tensor(gradient)).sum() + 0 * model.bias.sum())
    return model.weight.detach().clone()


def _wrapper(model, *tricks, **overrides):
    recipe = configs.load(CONFIGS, "imagenet", tricks, overrides)
    return build_optim_wrapper(model, optimiser_config(recipe))


def _flat(matrix):
    return [value for row in matrix for value in row]


def test_baseline_is_nesterov():
    model = _model()
    wrapper = _wrapper(model)
    weights, velocity = torch.tensor(W), torch.zeros(2, 2)
    for _ in range(2):
        found = _step(wrapper, model)
        gradient = torch.tensor(G) + 1e-4 * weights
        velocity = 0.9 * velocity + gradient
        weights = weights - 0.1 * (gradient + 0.9 * velocity)
        torch.testing.assert_close(found, weights)


def test_lars_trust_ratio():
    model = _model()
    found = _step(_wrapper(model, "lars"), model)
    norm, slope = math.hypot(*_flat(W)), math.hypot(*_flat(G))
    rate = 3.0 * 0.001 * norm / (slope + 1e-4 * norm)
    # Nesterov's first step: gradient + 0.9 · gradient.
    expected = torch.tensor(W) - 1.9 * rate * (torch.tensor(G) + 1e-4 * torch.tensor(W))
    torch.testing.assert_close(found, expected)


def test_adam_first_step():
    model = _model()
    found = _step(_wrapper(model, "adam"), model)
    torch.testing.assert_close(
        found, torch.tensor(W) - 1e-3 * torch.tensor(G).sign(), rtol=1e-4, atol=1e-6
    )


def test_adabound_clips_adam_rate():
    model = _model()
    wrapper = _wrapper(model, "adabound", weight_decay=0.0)
    weights, mean, square = torch.tensor(W), torch.zeros(2, 2), torch.zeros(2, 2)
    for step in (1, 2, 3):
        found = _step(wrapper, model)
        gradient = torch.tensor(G)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 1e-3 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        # The bounds of the authors' code: η_l = 0.1 (1 − 1 / (γ t + 1)), η_u = 0.1 (1 + 1 / (γ t)).
        lower, upper = 0.1 * (1 - 1 / (1e-3 * step + 1)), 0.1 * (1 + 1 / (1e-3 * step))
        weights = weights - (rate / (square.sqrt() + 1e-8)).clamp(lower, upper) * mean
        torch.testing.assert_close(found, weights, rtol=1e-5, atol=1e-7)


def test_clip_grad_norm():
    model = _model()
    steep = [[3.0, 0.0], [0.0, 4.0]]
    found = _step(_wrapper(model, "clip_grad_norm", weight_decay=0.0), model, steep)
    torch.testing.assert_close(found, torch.tensor(W) - 0.1 * 1.9 * torch.tensor(steep) / 5)


def test_clip_grad_value():
    model = _model()
    found = _step(_wrapper(model, "clip_grad_value", weight_decay=0.0), model)
    cut = torch.tensor([[0.1, 0.1], [-0.1, 0.05]])
    torch.testing.assert_close(found, torch.tensor(W) - 0.1 * 1.9 * cut)


def test_l2_equals_weight_decay():
    from cls_train.losses import WeightPenalty

    decayed, penalised = _model(), _model()
    _step(_wrapper(decayed), decayed)
    recipe = configs.load(CONFIGS, "imagenet", ("l2",), {})
    penalty = WeightPenalty(**{k: v for k, v in recipe.penalties.l2.items() if k != "type"})
    wrapper = _wrapper(penalised, "l2")
    loss = (penalised.weight * torch.tensor(G)).sum() + 0 * penalised.bias.sum()
    wrapper.update_params(loss + penalty(penalised.parameters()))
    torch.testing.assert_close(decayed.weight, penalised.weight)


def test_linear_scaling():
    recipe = configs.load(CONFIGS, "imagenet", ("large_batch", "linear_scaling"), {})
    assert optimiser_config(recipe)["optimizer"]["lr"] == pytest.approx(0.1 * 1024 / 256)
    with pytest.raises(UserError, match="unknown lr_scaling 'square'"):
        optimiser_config(configs.load(CONFIGS, "imagenet", (), {"lr_scaling": "square"}))
