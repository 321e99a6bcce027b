"""Cutout and random erasing on images whose every pixel is known."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from backbones.normalisation import IMAGENET_MEAN
from cls_train.assemble import CONFIGS
from cls_train.transforms import Cutout, Erasing, uniform_noise
from contract.errors import UserError
from engine import config as configs
from engine.augmentation import OneImage
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
    cutout = OneImage(Cutout(0.5))
    # Half of the shorter side is 10 pixels: five rows above the centre and five from it on.
    assert _box(cutout(WHITE)) == (10, 5)
    erased = cutout(WHITE)
    assert _box(erased) == (5 + 1, 5 + 1)
    np.testing.assert_allclose(erased[:, -1, -1], IMAGENET_MEAN, rtol=1e-6)
    assert (WHITE == 255).all()


def test_cutout_mean_area():
    torch.manual_seed(0)
    areas = [int((OneImage(Cutout(0.5))(WHITE) != 255).any(dim=0).sum()) for _ in range(2000)]
    # A side of 10 around a centre that is uniform over L pixels keeps, on average, 10 − 25 / L of them.
    assert np.mean(areas) == pytest.approx((10 - 25 / 20) * (10 - 25 / 30), rel=0.02)


@pytest.mark.parametrize("fill", ["constant", "mean", "noise"])
def test_erasing_fills_rectangle(fill):
    torch.manual_seed(0)
    erase = OneImage(Erasing(fill, p=1.0))
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
    erase = OneImage(Erasing(p=0.5))
    assert sum(not torch.equal(erase(WHITE), WHITE) for _ in range(400)) == pytest.approx(
        200, abs=35
    )


def test_wrong_arguments():
    with pytest.raises(UserError, match="unknown fill of Erasing 'nose'; did you mean 'noise'"):
        Erasing("nose")
    with pytest.raises(UserError, match="Cutout size=16 was given"):
        build_pipeline([dict(type="Cutout", size=16)])


@pytest.mark.parametrize("fill", ["constant", "mean"])
def test_erasing_is_torchvisions(fill):
    value = 0 if fill == "constant" else list(IMAGENET_MEAN)
    ours, theirs = (
        OneImage(Erasing(fill)),
        v2.RandomErasing(0.5, (0.02, 0.4), (0.3, 1 / 0.3), value),
    )
    for seed in range(20):
        torch.manual_seed(seed)
        found = ours(WHITE)
        torch.manual_seed(seed)
        assert torch.equal(found, theirs(WHITE))


def test_a_batch_is_erased_image_by_image():
    erase = Erasing("noise", p=0.7)
    torch.manual_seed(2)
    numbers = torch.tensor([erase.draw(20, 30) for _ in range(12)])
    images = torch.rand(12, 3, 20, 30) * 255
    mean, std = torch.tensor([[[5.0]], [[6]], [[7]]]), torch.full((3, 1, 1), 2.0)
    plain = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    found = erase(images, numbers, *plain)
    assert not torch.equal(found, images)
    for one, image, number in zip(found, images, numbers, strict=True):
        assert torch.equal(one, erase(image[None], number[None], *plain)[0])
    normalised = erase((images - mean) / std, numbers, mean, std)
    torch.testing.assert_close(normalised, (found - mean) / std)


def test_noise_by_hand():
    def mixed(value):
        value = (value ^ value >> 16) * 0x7FEB352D % 2**32
        value = (value ^ value >> 15) * 0x21F0AAAD % 2**32
        return value ^ value >> 15

    seeds = [0, 1, 2**24 - 1]
    noise = uniform_noise(torch.tensor(seeds, dtype=torch.float32), torch.empty(3, 3, 4, 5))
    for image, seed in enumerate(seeds):
        for channel, row, column in ((0, 0, 0), (1, 2, 3), (2, 3, 4)):
            value = mixed((channel * 20 + row * 5 + column) ^ mixed(seed)) >> 8
            assert noise[image, channel, row, column].item() == np.float32(value) / np.float32(
                2**24 - 1
            )


def test_noise_is_uniform_and_independent():
    noise = uniform_noise(torch.arange(8.0), torch.empty(8, 3, 64, 64)).flatten(1)
    counts = np.histogram(noise.numpy(), 16, (0, 1))[0]
    assert np.abs(counts / noise.numel() * 16 - 1).max() < 0.05
    between = np.corrcoef(noise.numpy())[np.triu_indices(8, 1)]
    neighbours = np.corrcoef(noise[:, :-1].flatten(), noise[:, 1:].flatten())[0, 1]
    assert max(np.abs(between).max(), abs(neighbours)) < 0.04
