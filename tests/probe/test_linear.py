"""The linear probe against the objective minimised by other means, and the choice of its strength."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from contract.errors import UserError
from probe import linear
from probe.linear import choose_exponent, fit, hold_out

SEARCH = dict(low=-6, high=6, step=2, halvings=3)


def _samples(count=60, width=2, classes=3, noise=1.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    means = generator.normal(size=(classes, width))
    features = means[labels] + noise * generator.normal(size=(count, width))
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


def _minimum(features, labels, classes, strength):
    """Weights (K, d) and biases (K,), by BFGS without a gradient on the objective as the paper has it."""
    shown = (features - features.mean(axis=0)) / features.std(axis=0)
    width = shown.shape[1]

    def objective(flat):
        weight, bias = flat[: classes * width].reshape(classes, width), flat[classes * width :]
        logits = shown @ weight.T + bias
        likelihood = logits[np.arange(len(labels)), labels] - logsumexp(logits, axis=1)
        return -likelihood.sum() + strength / 2 * (weight**2).sum()

    found = minimize(objective, np.zeros(classes * (width + 1)), options=dict(gtol=1e-4)).x
    return found[: classes * width].reshape(classes, width), found[classes * width :]


@pytest.mark.parametrize("strength", [0.1, 3.0, 100.0])
def test_minimises_objective(strength):
    features, labels = _samples()
    probe = fit(features * 7 + 3, labels, 3, strength, 1000)
    weight, bias = _minimum(features.double().numpy(), labels.numpy(), 3, strength)
    assert probe.converged
    assert probe.weight.numpy() == pytest.approx(weight, abs=2e-3)
    # A constant added to all biases changes nothing.
    differences = (probe.bias - probe.bias.mean()).numpy()
    assert differences == pytest.approx(bias - bias.mean(), abs=2e-3)


def test_gradient_vanishes_at_minimum():
    features, labels = _samples(count=90, width=12)
    probe = fit(features, labels, 3, 2.0, 1000)
    weight, bias = (part.clone().requires_grad_() for part in (probe.weight, probe.bias))
    shown = (features.double() - features.double().mean(0)) / features.double().std(0, correction=0)
    logits = shown @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, labels) + weight.square().sum() / 90
    loss.backward()
    assert torch.stack([weight.grad.abs().max(), bias.grad.abs().max()]).max() < 2e-6


def test_chunking_is_irrelevant(monkeypatch):
    features, labels = _samples(count=50, width=6)
    whole = fit(features, labels, 3, 1.0, 1000)
    monkeypatch.setattr(linear, "CHUNK", 7)
    chunked = fit(features, labels, 3, 1.0, 1000)
    monkeypatch.setattr(linear, "MOST_KEPT", 0)
    streamed = fit(features, labels, 3, 1.0, 1000)
    for other in (chunked, streamed):
        assert torch.allclose(whole.weight, other.weight, atol=1e-4)
        assert torch.allclose(whole.logits(features), other.logits(features), atol=1e-4)


def test_constant_feature_is_ignored():
    features, labels = _samples()
    dead = torch.cat([features, torch.full((60, 1), 0.1)], dim=1)
    probe = fit(dead, labels, 3, 1.0, 1000)
    assert torch.isfinite(probe.weight).all()
    assert torch.allclose(probe.logits(dead), fit(features, labels, 3, 1.0, 1000).logits(features))


def test_no_convergence_is_reported():
    features, labels = _samples(width=20)
    probe = fit(features, labels, 3, 1e-6, 2)
    assert (probe.iterations, probe.converged) == (2, False)


def test_stratified_holdout():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [3])
    fitted, held = hold_out(labels, 0.2, seed=4)
    assert torch.equal(torch.cat([fitted, held]).sort().values, torch.arange(63))
    assert labels[held].bincount(minlength=4).tolist() == [10, 2, 1, 0]
    assert labels[fitted].bincount(minlength=4).tolist() == [40, 8, 1, 1]


def test_seed_decides_holdout():
    labels = torch.arange(60) % 3
    first, again, other = (hold_out(labels, 0.25, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_single_image_per_class():
    with pytest.raises(UserError) as error:
        hold_out(torch.arange(5), 0.2, 0)
    assert str(error.value) == (
        "no class has two training images, and none can be held out to choose the strength of "
        "the linear probe; add images"
    )


def _alone(features, labels, held, exponent):
    """Held-out accuracy and loss of a fit that starts from nothing."""
    fitted, chosen = held
    probe = fit(features[fitted], labels[fitted], 3, 10.0**exponent, 1000)
    logits = probe.logits(features[chosen]).numpy()
    truth = labels[chosen].numpy()
    loss = np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(truth)), truth])
    return 100 * np.mean(logits.argmax(axis=1) == truth), loss


@pytest.mark.parametrize(("width", "noise", "count"), [(60, 6.0, 90), (2, 0.5, 600)])
def test_chooses_best_strength(width, noise, count):
    features, labels = _samples(count=count, width=width, noise=noise)
    held = hold_out(labels, 0.2, 0)
    exponent, trials = choose_exponent(features, labels, 3, held, SEARCH, 1000)
    scores = {trial.exponent: (trial.top1, -trial.loss) for trial in trials}
    assert len(scores) == len(trials)
    assert scores[exponent] == max(scores.values())
    for trial in trials:
        if trial.converged and trial.exponent >= -2:
            top1, loss = _alone(features, labels, held, trial.exponent)
            assert trial.top1 == pytest.approx(top1)
            assert trial.loss == pytest.approx(loss, abs=1e-3)
    # Coarse from strong to weak, then both neighbours at 1, 0.5 and 0.25.
    coarse = [trial.exponent for trial in trials if trial.exponent % 2 == 0]
    assert coarse == [6 - 2 * number for number in range(len(coarse))]
    finest = {round(abs(exponent - e), 2) for e in scores if e != exponent}
    assert 0.25 in finest
    assert all(-6 <= e <= 6 for e in scores)


def test_noise_features_are_regularised():
    features, labels = _samples(count=120, width=80, noise=8.0, seed=2)
    held = hold_out(labels, 0.2, 0)
    _, trials = choose_exponent(features, labels, 3, held, SEARCH, 1000)
    losses = {trial.exponent: trial.loss for trial in trials}
    assert losses[2.0] < losses[0.0]
    # Two coarse steps without a gain end the search before the weakest.
    assert len([e for e in losses if e % 2 == 0]) < 7
