"""The tricks that colour, rotate and augment, each against the same operation in Pillow."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, ImageEnhance, ImageOps
from torchvision.transforms import v2

from cls_train.assemble import CONFIGS
from engine import config as configs
from engine.image_folder import build_pipeline, transforms_of

SIZE = (32, 24)
IMAGE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8))
ENHANCERS = {
    "Brightness": ImageEnhance.Brightness,
    "Color": ImageEnhance.Color,
    "Contrast": ImageEnhance.Contrast,
    "Sharpness": ImageEnhance.Sharpness,
}
CONVERSIONS = (v2.PILToTensor, v2.ToDtype)
PLAIN = {
    "Identity": lambda image: image,
    "AutoContrast": ImageOps.autocontrast,
    "Equalize": ImageOps.equalize,
    "Invert": ImageOps.invert,
}


def operate(image, name, value=None):
    """AutoAugment's operations (1805.09501, Table 6), on a Pillow image; value as the paper has it."""
    if name in PLAIN:
        return PLAIN[name](image)
    if name in ENHANCERS:
        return ENHANCERS[name](image).enhance(value)
    if name == "Posterize":
        return ImageOps.posterize(image, int(value))
    if name == "Solarize":
        return image.point(lambda pixel: pixel if pixel < value else 255 - pixel)
    if name == "Rotate":
        return image.rotate(value)
    # Pillow's matrix leads from a pixel of the result to one of the source.
    matrix = {
        "ShearX": (1, -value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, -value, 1, 0),
        "TranslateX": (1, 0, -value, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -value),
    }[name]
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def step(trick, key):
    """The one transform that a trick adds to the training pipeline or changes there."""
    plain = transforms_of(configs.load(CONFIGS, "imagenet", (), {}), "train_pipeline")
    ours = transforms_of(configs.load(CONFIGS, "imagenet", (trick,), {}), "train_pipeline")
    (added,) = [entry for entry in ours if entry not in plain]
    assert added["type"] == key
    return next(t for t in build_pipeline([added]).transforms if type(t) not in CONVERSIONS)


def differs(one, other):
    """The fraction of pixels that differ; nearest-neighbour sampling may round some the other way."""
    return (np.asarray(ImageChops.difference(one, other)).max(axis=2) > 1).mean()


def one_of(result, expected):
    return any(differs(result, other) < 0.05 for other in expected)


def test_color_jitter_contrast(monkeypatch):
    jitter = step("color_jitter", "ColorJitter")
    drawn = jitter.transform.drawn
    assert drawn.hue is None
    for name in ("brightness", "contrast", "saturation"):
        assert tuple(getattr(drawn, name)) == pytest.approx((0.6, 1.4))
    only_contrast = build_pipeline([dict(type="ColorJitter", contrast=tuple(drawn.contrast))])
    inner = only_contrast.transforms[-1].transform.drawn
    monkeypatch.setattr(inner, "_generate_value", lambda low, high: high)
    found = only_contrast(IMAGE).permute(1, 2, 0).numpy()
    expected = np.asarray(operate(IMAGE, "Contrast", 1.4), int)
    # Pillow clips the result, and rounds it and the mean grey.
    assert np.abs(found.clip(0, 255) - expected).max() <= 1.3


def test_rotation():
    rotation = step("rotation", "RandomRotation")
    angles = []
    for seed in range(50):
        torch.manual_seed(seed)
        angles.append(torch.empty(1).uniform_(-10, 10).item())
        torch.manual_seed(seed)
        assert differs(rotation(IMAGE), operate(IMAGE, "Rotate", angles[-1])) == 0
    assert min(angles) < -8
    assert max(angles) > 8
    assert rotation(Image.new("RGB", SIZE, "white").resize((64, 64))).getpixel((0, 0)) == (0, 0, 0)


# (name, largest value, whether of either sign); a factor 1 ± 0.99 is given as such below.
WIDE = (
    ("ShearX", 0.99), ("ShearY", 0.99), ("TranslateX", 32), ("TranslateY", 32), ("Rotate", 135),
    ("Brightness", 0.99), ("Color", 0.99), ("Contrast", 0.99), ("Sharpness", 0.99),
)  # fmt: skip


def signed(name, value):
    """Both signs of a geometric strength; of a colour's, the factors 1 ± value."""
    if name in ENHANCERS:
        return [(name, 1 + value), (name, 1 - value)]
    if name.startswith("Translate"):
        value = int(value)
    return [(name, value), (name, -value)]


def test_trivial_augment_is_one_wide_operation():
    """2103.10158: 31 strengths, colours in [0.01, 2], posterize 2 to 8 bits, solarize 0 to 256."""
    strengths = [index / 30 for index in range(31)]
    space = [("Identity", None), ("AutoContrast", None), ("Equalize", None)]
    space += [("Posterize", bits) for bits in range(2, 9)]
    space += [("Solarize", 255 * strength) for strength in strengths]
    for name, largest in WIDE:
        for strength in strengths:
            space += signed(name, largest * strength)
    expected = [operate(IMAGE, *entry) for entry in space]
    policy = step("trivial_augment", "TrivialAugmentWide")
    torch.manual_seed(0)
    assert all(one_of(policy(IMAGE), expected) for _ in range(100))


def test_rand_augment_is_two_operations_of_strength_9():
    """1909.13719: N = 2, M = 9; of 31 steps of the ranges of AutoAugment, this is 0.3 of each."""
    space = [("Identity", None), ("AutoContrast", None), ("Equalize", None)]
    # 8 − round(4 · 0.3) bits; above 255 · (1 − 0.3) pixels turn.
    space += [("Posterize", 7), ("Solarize", 178.5)]
    for name, largest in (
        ("ShearX", 0.3), ("ShearY", 0.3), ("TranslateX", 150 / 331 * 32), ("TranslateY", 150 / 331 * 24),
        ("Rotate", 30), ("Brightness", 0.9), ("Color", 0.9), ("Contrast", 0.9), ("Sharpness", 0.9),
    ):  # fmt: skip
        space += signed(name, 0.3 * largest)
    expected = [
        operate(operate(IMAGE, *first), *second)
        for first, second in itertools.product(space, repeat=2)
    ]
    policy = step("rand_augment", "RandAugment")
    torch.manual_seed(0)
    assert all(one_of(policy(IMAGE), expected) for _ in range(60))


# 1805.09501, Table 9: pairs of (operation, probability, strength of 0 to 9) for ImageNet.
PAIRS = (
    "Posterize .4 8 Rotate .6 9", "Solarize .6 5 AutoContrast .6 5", "Equalize .8 8 Equalize .6 3",
    "Posterize .6 7 Posterize .6 6", "Equalize .4 7 Solarize .2 4", "Equalize .4 4 Rotate .8 8",
    "Solarize .6 3 Equalize .6 7", "Posterize .8 5 Equalize 1 2", "Rotate .2 3 Solarize .6 8",
    "Equalize .6 8 Posterize .4 6", "Rotate .8 8 Color .4 0", "Rotate .4 9 Equalize .6 2",
    "Equalize 0 7 Equalize .8 8", "Invert .6 4 Equalize 1 8", "Color .6 4 Contrast 1 8",
    "Rotate .8 8 Color 1 2", "Color .8 8 Solarize .8 7", "Sharpness .4 7 Invert .6 8",
    "ShearX .6 5 Equalize 1 9", "Color .4 0 Equalize .6 3", "Equalize .4 7 Solarize .2 4",
    "Solarize .6 5 AutoContrast .6 5", "Invert .6 4 Equalize 1 8", "Color .6 4 Contrast 1 8",
    "Equalize .8 8 Equalize .6 3",
)  # fmt: skip


def values_of(name, strength):
    fraction = int(strength) / 9
    if name in PLAIN:
        return [(name, None)]
    if name == "Posterize":
        return [(name, 8 - round(4 * fraction))]
    if name == "Solarize":
        return [(name, 255 * (1 - fraction))]
    return signed(name, fraction * {"Rotate": 30, "ShearX": 0.3}.get(name, 0.9))


def test_auto_augment_is_one_imagenet_policy_pair():
    expected = []
    for pair in PAIRS:
        one, chance, strength, other, chance_2, strength_2 = pair.split()
        firsts = [] if float(chance) == 0 else values_of(one, strength)
        seconds = values_of(other, strength_2)
        firsts += [] if float(chance) == 1 else [("Identity", None)]
        seconds += [] if float(chance_2) == 1 else [("Identity", None)]
        for first, second in itertools.product(firsts, seconds):
            expected.append(operate(operate(IMAGE, *first), *second))
    policy = step("auto_augment", "AutoAugment")
    torch.manual_seed(0)
    results = [policy(IMAGE) for _ in range(150)]
    assert all(one_of(result, expected) for result in results)
    # Untouched: the mean over the pairs of (1 − p) (1 − q).
    chances = [[float(word) for word in pair.split()[1::3]] for pair in PAIRS]
    still = np.mean([(1 - p) * (1 - q) for p, q in chances])
    untouched = np.mean([differs(result, IMAGE) == 0 for result in results])
    assert untouched == pytest.approx(still, abs=4 * math.sqrt(still * (1 - still) / 150) + 0.02)
