"""A tiny generated set in the ImageFolder layout and a config to match."""

import gc
import multiprocessing
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the wheels say at their import
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.visualization import Visualizer

    import cls_train.train  # noqa: F401

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


@pytest.fixture(autouse=True)
def _forget_runs():
    """Forget mmengine's runs, which it names by the second, so that two of one second mix."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()
    if multiprocessing.active_children():
        # Loader workers of a run that failed: torch would wait five seconds for each of them,
        # in whichever test the garbage is collected.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
            gc.collect()
