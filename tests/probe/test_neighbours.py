"""Weighted votes of the nearest training images, by loops."""

import math

import pytest
import torch

from probe import neighbours
from probe.neighbours import nearest_votes


def _by_loops(train, labels, test, classes, k, temperature):
    predictions = []
    for image in test.tolist():
        norm = math.sqrt(sum(value**2 for value in image))
        similar = []
        for other, label in zip(train.tolist(), labels.tolist(), strict=True):
            product = sum(a * b for a, b in zip(image, other, strict=True))
            similar.append((product / norm / math.sqrt(sum(v**2 for v in other)), label))
        votes = [0.0] * classes
        for cosine, label in sorted(similar, reverse=True)[:k]:
            votes[label] += math.exp(cosine / temperature)
        predictions.append(votes.index(max(votes)))
    return predictions


def _samples():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 3
    train = torch.randn(40, 5, generator=generator) + 0.8 * torch.eye(5)[labels]
    test = torch.randn(33, 5, generator=generator)
    return train, labels, test


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_votes_by_loops(monkeypatch, temperature):
    monkeypatch.setattr(neighbours, "CHUNK", 8)
    train, labels, test = _samples()
    found = nearest_votes(train, labels, test, 3, (1, 10, 20, 40), temperature)
    assert list(found) == [1, 10, 20, 40]
    for k, predictions in found.items():
        assert predictions.tolist() == _by_loops(train, labels, test, 3, k, temperature)
    assert (len({tuple(p.tolist()) for p in found.values()}) > 1) == (temperature == 1.0)


def test_temperature_extremes():
    train = torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.4]])
    labels, test = torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0]])
    assert nearest_votes(train, labels, test, 2, (3,), 1e3)[3].tolist() == [1]
    assert nearest_votes(train, labels, test, 2, (3,), 1e-2)[3].tolist() == [0]


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_only_directions_count(factor):
    train, labels, test = _samples()
    expected = nearest_votes(train, labels, test, 3, (10,), 0.07)[10]
    assert torch.equal(nearest_votes(train * factor, labels, test, 3, (10,), 0.07)[10], expected)


def test_more_neighbours_than_images():
    train, labels, test = _samples()
    found = nearest_votes(train, labels, test, 3, (40, 100), 0.07)
    assert torch.equal(found[100], found[40])


def test_ties_go_to_lower_class():
    train = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = nearest_votes(train, torch.tensor([2, 1]), torch.tensor([[1.0, 1.0]]), 3, (2,), 0.07)
    assert found[2].tolist() == [1]
