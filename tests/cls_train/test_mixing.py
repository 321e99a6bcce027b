"""Mixup with λ and the permutation pinned."""

import numpy as np
import pytest
import torch

from backbones import UserError
from cls_train.mixing import Mixup


def test_images_and_targets_are_mixed_with_one_weight(monkeypatch):
    mixup = Mixup(0.2)
    monkeypatch.setattr(mixup.beta, "sample", lambda: torch.tensor(0.3))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.tensor([2, 0, 1]))
    images = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 2, 2, 2)
    mixed, targets = mixup(images, torch.eye(3))
    # 0.3 x_i + 0.7 x_j with j = 2, 0, 1.
    np.testing.assert_allclose(mixed[:, 1, 0, 1], [1.4, 0.3, 1.3], rtol=1e-6)
    expected = [[0.3, 0, 0.7], [0.7, 0.3, 0], [0, 0.7, 0.3]]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_the_weight_is_drawn_from_beta():
    mixup = Mixup(0.2)
    torch.manual_seed(0)
    images, targets = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1), torch.eye(2)
    weights = []
    for _ in range(3000):
        mixed, _ = mixup(images, targets)
        if mixed[1] != 1:  # else the permutation was the identity
            weights.append(mixed[1].item())
    # Beta(α, α): mean ½ and variance 1 / (4 (2α + 1)).
    assert np.mean(weights) == pytest.approx(0.5, abs=0.05)
    assert np.var(weights) == pytest.approx(1 / (4 * 1.4), rel=0.08)


def test_targets_stay_distributions_and_inputs_are_left_alone():
    images, targets = torch.randn(4, 3, 2, 2), torch.eye(4)
    kept = images.clone(), targets.clone()
    _, mixed = Mixup(1.0)(images, targets)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(4))
    assert torch.equal(images, kept[0])
    assert torch.equal(targets, kept[1])


@pytest.mark.parametrize("alpha", [0, -0.2, float("nan")])
def test_an_alpha_of_no_distribution_is_told(alpha):
    with pytest.raises(UserError, match=f"mixup alpha={alpha} was given; it must be above 0"):
        Mixup(alpha)
