"""Colour jitter and colour noise as one affine change, against the formulas step by step."""

import colorsys

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cls_train.colours import ColorJitter, PCANoise
from engine.augmentation import Augmentation, OneImage

# Between 0 and 255 with room on both sides, so that torchvision's clipping changes nothing.
MILD = torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(0)) * 60 + 90
JITTER = dict(brightness=0.4, contrast=0.4, saturation=0.4)
MEAN, STD = torch.tensor([[[120.0]], [[110]], [[100]]]), torch.tensor([[[50.0]], [[60]], [[70]]])


@pytest.mark.parametrize(
    "factors", [dict(brightness=0.3), dict(contrast=0.3), dict(saturation=0.3), JITTER]
)
def test_jitter_is_torchvisions_without_clipping(factors):
    """torchvision's operations on float images of scale 0 to 1 are linear up to clipping."""
    ours, theirs = OneImage(ColorJitter(**factors)), v2.ColorJitter(**factors)
    for seed in range(12):
        torch.manual_seed(seed)
        found = ours(MILD)
        torch.manual_seed(seed)
        expected = theirs(MILD / 255) * 255
        assert expected.max() < 254
        # torchvision's weights of grey have four digits: 0.2989, 0.587 and 0.114.
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_hue_turns_the_colour(monkeypatch):
    """A third of a turn leads from red over green to blue; grey and the brightness stay."""
    jitter = OneImage(ColorJitter(hue=0.4))
    colours = np.array([[170, 100, 100], [128, 128, 128], [100, 100, 170], [90, 150, 120]], float)
    image = torch.tensor(colours.T, dtype=torch.float32)[:, None]
    for turns in (-0.3, 0.1, 1 / 3):
        monkeypatch.setattr(jitter.transform.drawn, "_generate_value", lambda *_, t=turns: t)
        changed = jitter(image)[:, 0].T.numpy()
        np.testing.assert_allclose(changed[1], 128, atol=1e-3)
        grey = np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(changed @ grey, colours @ grey, atol=1e-2)
        before, after = (
            [colorsys.rgb_to_hsv(*row)[0] for row in rows[[0, 2, 3]] / 255]
            for rows in (colours, changed)
        )
        moved = (np.array(after) - before - turns + 0.5) % 1 - 0.5
        # YIQ's angle is not HSV's, but goes round in the same direction.
        assert np.abs(moved).max() < 0.12


def test_contrast_uses_the_mean_at_its_place(monkeypatch):
    jitter = OneImage(ColorJitter(brightness=0.4, contrast=0.4))
    monkeypatch.setattr(jitter.transform.drawn, "_generate_value", lambda low, high: high)
    grey = torch.tensor([0.299, 0.587, 0.114])
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        monkeypatch.setattr(torch, "randperm", lambda _, order=order: torch.tensor(order))
        image = MILD
        for which in order[:3]:
            if which == 0:
                image = 1.4 * image
            elif which == 1:
                image = 1.4 * image + (1 - 1.4) * (grey @ image.mean(dim=(1, 2)))
        torch.testing.assert_close(jitter(MILD), image, atol=1e-3, rtol=0)


def test_joint_change_with_normalisation_equals_steps():
    configs = [dict(type="ColorJitter", hue=0.2, **JITTER), dict(type="PCANoise", std=0.1)]
    configs += [dict(type="ColorJitter", **JITTER)]
    images = (torch.rand(4, 3, 16, 20) * 255).byte()
    joint = Augmentation(configs)
    assert len(joint.steps) == 1
    torch.manual_seed(3)
    numbers = torch.stack([joint.draw(16, 20) for _ in images])
    found = joint(images, numbers, MEAN, STD)
    torch.manual_seed(3)
    for image, changed in zip(images, found, strict=True):
        expected = image.float()
        for step in (ColorJitter(hue=0.2, **JITTER), PCANoise(0.1), ColorJitter(**JITTER)):
            expected = OneImage(step)(expected)
        torch.testing.assert_close(changed, (expected - MEAN) / STD, atol=2e-4, rtol=0)


def test_fills_follow_the_normalisation():
    """Erased pixels keep their colour, whatever comes before."""
    for configs in ([], [dict(type="PCANoise", std=0.1)]):
        augmentation = Augmentation([*configs, dict(type="Erasing", fill="constant", p=1.0)])
        numbers = augmentation.draw(16, 20)[None]
        found = augmentation(MILD[None], numbers, MEAN, STD)[0]
        top, left, height, width = numbers[0, -5:-1].int().tolist()
        inside = found[:, top : top + height, left : left + width]
        torch.testing.assert_close(inside, (-MEAN / STD).expand_as(inside))


def test_colour_after_erasing_changes_the_fill(monkeypatch):
    erase, noise = dict(type="Erasing", fill="constant", p=1.0), dict(type="PCANoise", std=0.1)
    augmentation = Augmentation([erase, noise])
    monkeypatch.setattr(torch, "randn", lambda count: torch.ones(count))
    numbers = augmentation.draw(16, 20)[None]
    found = augmentation(MILD[None], numbers, MEAN, STD)[0]
    top, left = numbers[0, :2].int().tolist()
    shift = torch.tensor(PCANoise(0.1).axes @ np.full(3, 0.1), dtype=torch.float32)[:, None, None]
    torch.testing.assert_close(found[:, top, left], ((shift - MEAN) / STD).flatten())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_stays(memory_format):
    images = torch.zeros(2, 3, 8, 9, dtype=torch.uint8).contiguous(memory_format=memory_format)
    for configs in ([dict(type="PCANoise", std=0.1)], [dict(type="Cutout")]):
        augmentation = Augmentation(configs)
        numbers = torch.stack([augmentation.draw(8, 9) for _ in images])
        found = augmentation(images, numbers, MEAN, STD)
        assert found.is_contiguous(memory_format=memory_format)
        assert found.dtype == torch.float32


def test_pca_noise_by_hand(monkeypatch):
    monkeypatch.setattr(torch, "randn", lambda count: torch.tensor([0.5, -1.0, 2.0]))
    out = OneImage(PCANoise(0.1))(torch.full((3, 2, 2), 100.0))
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
    torch.manual_seed(0)
    noise = PCANoise(0.1)
    shifts = np.array([noise.draw_affine().shift for _ in range(4000)])
    along = shifts @ np.array(PCANoise.EIGENVECTORS)
    np.testing.assert_allclose(along.std(axis=0), [5.546, 0.4794, 0.1148], rtol=0.06)
