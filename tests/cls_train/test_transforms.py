"""Cutout, random erasing and colour noise on images whose every pixel is known."""

import numpy as np
import pytest
import torch

from backbones.normalisation import IMAGENET_MEAN
from cls_train.assemble import CONFIGS
from cls_train.transforms import Cutout, Erasing, PCANoise
from contract.errors import UserError
from engine import config as configs
from engine.image_folder import build_pipeline, transforms_of

WHITE = torch.full((3, 20, 30), 255.0)


def _box(erased):
    """Rows and columns that are no longer white, which must form a rectangle."""
    changed = (erased != 255).any(dim=0)
    rows, columns = changed.any(dim=1).nonzero()[:, 0], changed.any(dim=0).nonzero()[:, 0]
    assert int(changed.sum()) == len(rows) * len(columns)
    return len(rows), len(columns)


def test_cutout_square_clipped_at_border(monkeypatch):
    centres = iter([torch.tensor(10), torch.tensor(0), torch.tensor(19), torch.tensor(29)])
    monkeypatch.setattr(torch, "randint", lambda *_: next(centres))
    cutout = Cutout(0.5)
    # Half of the shorter side is 10 pixels: five rows above the centre and five from it on.
    assert _box(cutout(WHITE)) == (10, 5)
    erased = cutout(WHITE)
    assert _box(erased) == (5 + 1, 5 + 1)
    np.testing.assert_allclose(erased[:, -1, -1], IMAGENET_MEAN, rtol=1e-6)
    assert (WHITE == 255).all()


def test_cutout_mean_area():
    torch.manual_seed(0)
    areas = [int((Cutout(0.5)(WHITE) != 255).any(dim=0).sum()) for _ in range(2000)]
    # A side of 10 around a centre that is uniform over L pixels keeps, on average, 10 − 25 / L of them.
    assert np.mean(areas) == pytest.approx((10 - 25 / 20) * (10 - 25 / 30), rel=0.02)


@pytest.mark.parametrize("fill", ["constant", "mean", "noise"])
def test_erasing_fills_rectangle(fill):
    torch.manual_seed(0)
    erase = Erasing(fill, p=1.0)
    for _ in range(20):
        erased = erase(WHITE)
        rows, columns = _box(erased)
        assert 0.01 < rows * columns / 600 < 0.45
        inside = erased[:, (erased != 255).any(dim=0)]
        if fill == "noise":
            assert inside.min() >= 0
            assert inside.max() <= 255
            if inside.numel() > 300:
                # U[0, 255]: mean 127.5, standard deviation 255 / √12.
                assert inside.mean() == pytest.approx(127.5, abs=15)
                assert inside.std() == pytest.approx(255 / 12**0.5, abs=10)
        else:
            expected = torch.zeros(3) if fill == "constant" else torch.tensor(IMAGENET_MEAN)
            torch.testing.assert_close(inside, expected[:, None].expand_as(inside))


@pytest.mark.parametrize(
    ("trick", "fill"),
    [
        ("random_erasing", "noise"),
        ("random_erasing_mean", "mean"),
        ("random_erasing_constant", "constant"),
    ],
)
def test_paper_values(trick, fill):
    """1708.04896: p = 0.5, area 2% to 40%, aspect 0.3 to 1 / 0.3."""
    config = configs.load(CONFIGS, "imagenet", (trick,), {})
    (step,) = [s for s in transforms_of(config, "train_pipeline") if s["type"] == "Erasing"]
    expected = dict(type="Erasing", fill=fill, p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
    assert {key: step[key] for key in expected} == expected


def test_erasing_probability():
    torch.manual_seed(0)
    erase = Erasing(p=0.5)
    assert sum(not torch.equal(erase(WHITE), WHITE) for _ in range(400)) == pytest.approx(
        200, abs=35
    )


def test_wrong_arguments():
    with pytest.raises(UserError, match="unknown fill of Erasing 'nose'; did you mean 'noise'"):
        Erasing("nose")
    with pytest.raises(UserError, match="Cutout size=16 was given"):
        build_pipeline([dict(type="Cutout", size=16)])


def test_pca_noise_by_hand(monkeypatch):
    alpha = np.array([0.05, -0.1, 0.2])
    monkeypatch.setattr(np.random, "normal", lambda mean, std, size: alpha * (std / 0.1))
    image = torch.full((3, 2, 2), 100.0)
    out = PCANoise(0.1)(image)
    # Σ_k α_k λ_k p_k, component by component.
    red = 0.05 * 55.46 * -0.5675 + -0.1 * 4.794 * 0.7192 + 0.2 * 1.148 * 0.4009
    green = 0.05 * 55.46 * -0.5808 + -0.1 * 4.794 * -0.0045 + 0.2 * 1.148 * -0.8140
    blue = 0.05 * 55.46 * -0.5836 + -0.1 * 4.794 * -0.6948 + 0.2 * 1.148 * 0.4203
    for channel, shift in enumerate((red, green, blue)):
        assert out[channel].unique().tolist() == pytest.approx([100 + shift], abs=1e-4)


def test_color_axes_are_orthonormal():
    vectors = np.array(PCANoise.EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-3)


def test_pca_noise_standard_deviation():
    np.random.seed(0)
    noise = PCANoise(0.1)
    shifts = np.array([noise(torch.zeros(3, 1, 1)).flatten().numpy() for _ in range(4000)])
    along = shifts @ np.array(PCANoise.EIGENVECTORS)
    np.testing.assert_allclose(along.std(axis=0), [5.546, 0.4794, 0.1148], rtol=0.06)
