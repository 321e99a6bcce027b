"""The probe and the transferability estimates on a pretended GPU."""

import pytest
import torch
from support.pretend_cuda import pretend_cuda
from torch import nn

from engine.measure.transferability import measure
from probe.linear import choose_exponent, fit, hold_out
from probe.neighbours import nearest_votes

CLASSES = 3
SEARCH = dict(low=-2, high=0, step=1, halvings=1)


def _samples(device):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(60) % CLASSES
    features = torch.randn(60, 5, generator=generator) + labels[:, None]
    return features.to(device), labels.to(device)


def _scores(device):
    head = nn.Linear(5, 4)
    with torch.no_grad():
        head.weight.copy_(torch.arange(20).view(4, 5) / 10)
        head.bias.zero_()
    # It is read from a file, on the CPU.
    return measure(*_samples(device), head)


def _linear(device):
    features, labels = _samples(device)
    held = hold_out(labels, 0.2, seed=0)
    exponent, trials = choose_exponent(features, labels, CLASSES, held, SEARCH, 50)
    probe = fit(features, labels, CLASSES, 10.0**exponent, 50)
    logits = probe.logits(features)
    assert (logits.device.type, logits.dtype) == (device, torch.float64)
    return exponent, trials, logits.tolist()


def _neighbours(device):
    features, labels = _samples(device)
    votes = nearest_votes(features[10:], labels[10:], features[:10], CLASSES, (1, 5, 100), 0.07)
    assert {vote.device.type for vote in votes.values()} == {device}
    return {k: vote.tolist() for k, vote in votes.items()}


@pytest.mark.parametrize("compute", [_scores, _linear, _neighbours])
def test_estimate_equals_that_of_the_cpu(compute):
    expected = compute("cpu")
    with pretend_cuda():
        assert compute("cuda") == expected
