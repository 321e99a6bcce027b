"""LogME, H-score and LEEP against independent computations."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import nn

from contract.errors import UserError
from engine.measure.transferability import LEAST_SAMPLES, Score, h_score, leep, logme, measure


def _samples(count=60, width=7, classes=3, signal=1.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    means = signal * generator.normal(size=(classes, width))
    return means[labels] + generator.normal(size=(count, width)), labels


def _largest_evidence(features, target):
    """The maximum over α and β of the density itself, with the n × n covariance written out."""

    def negative(logarithms):
        alpha, beta = np.exp(logarithms)
        covariance = features @ features.T / alpha + np.eye(len(target)) / beta
        misfit = target @ np.linalg.solve(covariance, target)
        determinant = np.linalg.slogdet(covariance).logabsdet
        return 0.5 * (len(target) * math.log(2 * math.pi) + determinant + misfit)

    found = [
        optimize.minimize(
            negative, start, method="Nelder-Mead", options=dict(xatol=1e-7, fatol=1e-10)
        )
        for start in ((0.0, 0.0), (5.0, 2.0))
    ]
    return -min(result.fun for result in found)


@pytest.mark.parametrize(
    "samples", [dict(), dict(signal=0.2, seed=3), dict(count=40, width=25), dict(width=1)]
)
def test_logme_maximises_marginal_likelihood(samples):
    features, labels = _samples(**samples)
    features = features + 0.5  # as after a ReLU, whose features have a mean
    expected = [_largest_evidence(features, 1.0 * (labels == k)) / len(labels) for k in range(3)]
    assert logme(features, labels) == pytest.approx(np.mean(expected), abs=1e-6)


def test_logme_with_more_features_than_samples():
    features, labels = _samples(count=24, width=40, signal=2.0)
    expected = [_largest_evidence(features, 1.0 * (labels == k)) / len(labels) for k in range(3)]
    # Here noise may vanish in the limit, which the search by α and β only approaches.
    assert logme(features, labels) == pytest.approx(np.mean(expected), abs=1e-4)


def test_logme_of_uninformative_features():
    features = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    labels = np.array([0, 0, 1, 1])
    # N(y | 0, I / β) with 1 / β = yᵀ y / n = 1/2.
    assert logme(features, labels) == pytest.approx(-0.5 * (math.log(math.pi) + 1), abs=1e-9)


def _explicit_h_score(features, labels):
    count, width = features.shape
    centred = features - features.mean(axis=0)
    covariance = sum(np.outer(x, x) for x in centred) / count
    mu = np.trace(covariance) / width
    distance = np.sum((covariance - mu * np.eye(width)) ** 2)
    error = sum(np.sum((np.outer(x, x) - covariance) ** 2) for x in centred) / count**2
    shrinkage = min(error, distance) / distance
    means = np.stack([centred[labels == label].mean(axis=0) for label in labels])
    between = means.T @ means / count
    shrunk = (1 - shrinkage) * covariance + shrinkage * mu * np.eye(width)
    return np.trace(np.linalg.inv(shrunk) @ ((1 - shrinkage) * between))


@pytest.mark.parametrize("samples", [dict(), dict(count=30, width=45), dict(signal=0.1, classes=4)])
def test_h_score_from_covariances(samples):
    features, labels = _samples(**samples)
    assert h_score(features, labels) == pytest.approx(_explicit_h_score(features, labels), rel=1e-9)


def test_h_score_of_one_feature_is_correlation_ratio():
    features, labels = _samples(width=1)
    groups = [features[labels == k, 0] for k in range(3)]
    f_statistic = stats.f_oneway(*groups).statistic
    # F = (between / (K − 1)) / (within / (n − K)), and the score is between / (between + within).
    ratio = f_statistic * 2 / 57
    assert h_score(features, labels) == pytest.approx(ratio / (1 + ratio), rel=1e-9)


def test_h_score_bounds():
    features, labels = _samples(count=3000, signal=0.0)
    assert 0 <= h_score(features, labels) < 0.02
    features, labels = _samples(count=3000, signal=100.0)
    assert 1.9 < h_score(features, labels) <= 2


def test_leep_by_loops():
    generator = np.random.default_rng(5)
    probabilities = generator.dirichlet(np.ones(4), size=30)
    labels = generator.integers(0, 3, 30)
    joint = {(y, z): 0.0 for y in range(3) for z in range(4)}
    for theta, y in zip(probabilities, labels, strict=True):
        for z in range(4):
            joint[y, z] += theta[z] / 30
    total = 0.0
    for theta, y in zip(probabilities, labels, strict=True):
        likelihood = sum(
            joint[y, z] / sum(joint[other, z] for other in range(3)) * theta[z] for z in range(4)
        )
        total += math.log(likelihood) / 30
    assert leep(probabilities, labels) == pytest.approx(total, rel=1e-12)


def test_leep_at_extremes():
    labels = np.array([0, 0, 0, 1])
    # It always says the same: what is left is the entropy of the labels.
    constant = np.tile([0.3, 0.7, 0.0], (4, 1))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert leep(constant, labels) == pytest.approx(-entropy, rel=1e-12)
    certain = np.eye(3)[[2, 2, 2, 0]]
    assert leep(certain, labels) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("score", [logme, h_score])
@pytest.mark.parametrize("width", [7, 90])
def test_invariances(score, width):
    features, labels = _samples(width=width)
    expected = score(features, labels)
    generator = np.random.default_rng(1)
    order = generator.permutation(60)
    rotation = np.linalg.qr(generator.normal(size=(width, width)))[0]
    assert score(features[order], labels[order]) == pytest.approx(expected, rel=1e-6)
    assert score(features, np.array([7, 0, 4])[labels]) == pytest.approx(expected, rel=1e-6)
    assert score(features @ rotation, labels) == pytest.approx(expected, rel=1e-6)
    assert score(1e4 * features, labels) == pytest.approx(expected, rel=1e-6)


def test_only_h_score_is_shift_invariant():
    features, labels = _samples()
    assert h_score(features + 5, labels) == pytest.approx(h_score(features, labels), rel=1e-9)
    # LogME has no intercept.
    assert abs(logme(features + 5, labels) - logme(features, labels)) > 0.01


@pytest.mark.parametrize("score", [logme, h_score])
def test_better_separation_scores_higher(score):
    values = [score(*_samples(count=300, signal=signal)) for signal in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


@pytest.mark.parametrize("score", [logme, h_score, leep])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f, y: (f, 0 * y), "all 60 samples are of one class; two are needed"),
        (lambda f, y: (np.where(f > 3, np.nan, f), y), "the features are not finite numbers"),
    ],
)
def test_undefined_scores(score, change, said):
    features, labels = change(*_samples(signal=3.0))
    with pytest.raises(UserError, match=f"^{said}$"):
        score(features, labels)


@pytest.mark.parametrize("score", [logme, h_score])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_features(score, value):
    with pytest.raises(UserError, match=r"^the features are the same for all samples$"):
        score(np.full((60, 7), value), np.arange(60) % 2)


@pytest.mark.parametrize("score", [logme, h_score])
def test_one_constant_feature(score):
    features, labels = _samples()
    dead = np.concatenate([features, np.zeros((60, 1))], axis=1)
    assert math.isfinite(score(dead, labels))
    # A feature that is 0 for all samples does not affect LogME.
    assert logme(dead, labels) == pytest.approx(logme(features, labels), abs=1e-9)


def test_label_features_have_unbounded_evidence():
    labels = np.arange(60) % 3
    with pytest.raises(
        UserError, match="exact linear function of the features; the evidence grows"
    ):
        logme(np.eye(3)[labels], labels)


def test_score_names_and_missing_scores():
    features, labels = _samples()
    head = nn.Linear(7, 4)
    scores, notes = measure(torch.from_numpy(features).float(), torch.from_numpy(labels), head)
    assert [score.name for score in scores] == ["logme", "hscore", "leep"]
    assert {score.samples for score in scores} == {60}
    assert notes == []
    assert scores[0].value == pytest.approx(logme(features, labels), abs=1e-5)
    theta = torch.softmax(head(torch.from_numpy(features).float()), dim=1).detach().numpy()
    assert scores[2].value == pytest.approx(leep(theta.astype(np.float64), labels), abs=1e-6)

    scores, notes = measure(torch.from_numpy(features), torch.from_numpy(0 * labels), None)
    assert scores == []
    assert notes == [
        f"{name} was not measured: all 60 samples are of one class; two are needed"
        for name in ("logme", "hscore")
    ]


def test_too_few_samples():
    few = LEAST_SAMPLES - 1
    scores, notes = measure(torch.rand(few, 3), torch.arange(few) % 2, None)
    assert scores == []
    assert notes == [
        "transferability was not measured: 19 labelled samples are fewer than 20",
    ]
    enough, _ = measure(torch.rand(LEAST_SAMPLES, 3), torch.arange(LEAST_SAMPLES) % 2, None)
    assert [type(score) for score in enough] == [Score, Score]
