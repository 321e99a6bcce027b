"""Mixup, CutMix and RICAP with their draws pinned."""

import numpy as np
import pytest
import torch

from cls_train.mixing import RICAP, CutMix, Mixup
from contract.errors import UserError


def test_one_weight_mixes_images_and_targets(monkeypatch):
    mixup = Mixup(0.2)
    monkeypatch.setattr(mixup.beta, "sample", lambda: torch.tensor(0.3))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.tensor([2, 0, 1]))
    images = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 2, 2, 2)
    mixed, targets = mixup(images, torch.eye(3))
    # 0.3 x_i + 0.7 x_j with j = 2, 0, 1.
    np.testing.assert_allclose(mixed[:, 1, 0, 1], [1.4, 0.3, 1.3], rtol=1e-6)
    expected = [[0.3, 0, 0.7], [0.7, 0.3, 0], [0, 0.7, 0.3]]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_weight_is_beta_distributed():
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


def test_targets_stay_distributions():
    images, targets = torch.randn(4, 3, 2, 2), torch.eye(4)
    kept = images.clone(), targets.clone()
    _, mixed = Mixup(1.0)(images, targets)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(4))
    assert torch.equal(images, kept[0])
    assert torch.equal(targets, kept[1])


@pytest.mark.parametrize("alpha", [0, -0.2, float("nan")])
def test_invalid_alpha(alpha):
    with pytest.raises(UserError, match=f"mixup alpha={alpha} was given; it must be above 0"):
        Mixup(alpha)
    with pytest.raises(UserError, match=f"cutmix alpha={alpha} was given; it must be above 0"):
        CutMix(alpha)
    with pytest.raises(UserError, match=f"ricap beta={alpha} was given; it must be above 0"):
        RICAP(alpha)


# Each image is filled with its own index, so that a pixel shows where it comes from.
@pytest.mark.parametrize("mix", [CutMix(1.0), RICAP(0.3)], ids=["cutmix", "ricap"])
def test_labels_weigh_by_pixels(mix):
    count = 6
    images = torch.arange(float(count)).reshape(count, 1, 1, 1).expand(count, 3, 20, 30)
    torch.manual_seed(0)
    mixtures = set()
    for _ in range(40):
        mixed, targets = mix(images, torch.eye(count))
        assert mixed.shape == images.shape
        for index in range(count):
            pixels = mixed[index, 0].flatten().long()
            areas = torch.bincount(pixels, minlength=count) / (20 * 30)
            torch.testing.assert_close(targets[index], areas)
            mixtures.add(int((areas > 0).sum()))
    # One box, or four quadrants, some of which may hold the same image or nothing.
    assert max(mixtures) == (2 if isinstance(mix, CutMix) else 4)


def test_ricap_point_and_crops(monkeypatch):
    ricap = RICAP(0.3)
    draws = iter([torch.tensor(0.25), torch.tensor(0.5)])
    monkeypatch.setattr(ricap.beta, "sample", lambda: next(draws))
    # Every pixel is its own number, in images that differ by hundreds.
    images = torch.arange(32.0).reshape(1, 1, 4, 8) + 100 * torch.arange(4.0).reshape(4, 1, 1, 1)
    partners = iter(torch.tensor([k, k, k, k]) for k in range(4))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: next(partners))
    # Rows and columns at which the crops begin: the last possible ones of the first, the first of the others.
    monkeypatch.setattr(
        torch, "randint", lambda high, size: torch.tensor(high - 1 if high == 7 else 0)
    )
    mixed, targets = ricap(images, torch.eye(4))
    # w = 2 of 8 columns, h = 2 of 4 rows: quadrants of 4, 12, 4 and 12 pixels.
    torch.testing.assert_close(targets, torch.tensor([[4.0, 12, 4, 12]]).expand(4, 4) / 32)
    expected = torch.empty(4, 8)
    expected[:2, :2] = images[0, 0, :2, 6:]
    expected[:2, 2:] = images[1, 0, :2, :6]
    expected[2:, :2] = images[2, 0, :2, 6:]
    expected[2:, 2:] = images[3, 0, :2, :6]
    assert torch.equal(mixed[0, 0], expected)


def test_mixing_and_smoothing_commute():
    from cls_train.losses import SmoothedTargets

    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    for mix in (Mixup(0.2), CutMix(1.0), RICAP(0.3)):
        torch.manual_seed(5)
        _, smoothed_first = mix(images, SmoothedTargets(0.1)(labels, 4))
        torch.manual_seed(5)
        _, mixed = mix(images, torch.eye(4))
        torch.testing.assert_close(smoothed_first, mixed * 0.9 + (1 - mixed) * 0.1 / 3)
