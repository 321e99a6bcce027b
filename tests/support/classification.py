"""A small image set in the ImageFolder layout and a config to match."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]

CONFIG = f"""
_base_ = "{REPOSITORY}/cls_train/configs/imagenet.py"
epochs = 3
batch_size = 8
lr = 0.05
train_pipeline = dict(crop=dict(size=32, scale=(0.5, 1.0)), jitter=dict(hue=0.0))
test_pipeline = dict(resize=dict(size=32), crop=dict(size=32))
warmup_epochs = 1
workers = 0
validate_every_epochs = 1
"""


def write_images(root, per_class, classes=3, size=32):
    """Write noise with a colour cast of the class under `root/c<k>/<i>.png`."""
    generator = np.random.default_rng([per_class, classes])
    for label in range(classes):
        folder = root / f"c{label}"
        folder.mkdir(parents=True)
        for index in range(per_class):
            pixels = generator.integers(0, 120, (size, size, 3), dtype=np.uint8)
            pixels[..., label % 3] += 60
            Image.fromarray(pixels).save(folder / f"{index}.png")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """48 training and 12 validation images of 3 classes."""
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train", 16)
    write_images(root / "val", 4)
    return root


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """A config of 3 epochs of 6 iterations."""
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(CONFIG)
    return path
