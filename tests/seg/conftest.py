"""Tiny sets in the ADE20K layout, and hand-off checkpoints."""

import numpy as np
import pytest
import torch
from PIL import Image

import backbones
import seg  # noqa: F401  (before any test module imports mmseg: it puts mmcv's ops in place)
from backbones import CheckpointMetadata

SPEC = "resnet10_d-w8"


class AdeTree:
    """A tree of the ADE20K layout that is written pair by pair; label 0 is ignored, 1 is the first class."""

    def __init__(self, root):
        self.root = root
        for split in ("training", "validation"):
            (root / "images" / split).mkdir(parents=True)
            (root / "annotations" / split).mkdir(parents=True)

    def add(self, split, name, labels, suffix=".jpg"):
        """Write the label map `(H, W)` uint8 and an image that shows it."""
        labels = np.asarray(labels, np.uint8)
        colours = np.array([(10, 10, 10), (200, 60, 60), (60, 200, 60), (60, 60, 200)], np.uint8)
        Image.fromarray(colours[np.minimum(labels, 3)]).save(self.image(split, name, suffix))
        Image.fromarray(labels).save(self.label_map(split, name))
        return self

    def image(self, split, name, suffix=".jpg"):
        return self.root / "images" / split / f"{name}{suffix}"

    def label_map(self, split, name):
        return self.root / "annotations" / split / f"{name}.png"

    def classes(self, *names):
        (self.root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
        return self


def quarters(width, height):
    """A label map with 0 at the top left, 1 at the top right, 2 and 3 below."""
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2, width // 2 :] = 1
    labels[height // 2 :, : width // 2] = 2
    labels[height // 2 :, width // 2 :] = 3
    return labels


@pytest.fixture
def ade_tree():
    """The class, since test modules cannot import this file."""
    return AdeTree


@pytest.fixture
def tiny_ade(tmp_path):
    """Four training and two validation pairs of several sizes with three classes."""
    tree = AdeTree(tmp_path / "ADEChallengeData2016").classes("sky", "tree", "road")
    sizes = [(96, 64), (64, 96), (80, 80), (96, 72), (64, 64), (90, 70)]
    for number, size in enumerate(sizes):
        tree.add("training" if number < 4 else "validation", f"{number:03d}", quarters(*size))
    return tree


@pytest.fixture
def checkpoint_metadata():
    """Unlike any default, so that what is taken from it can be told from what is not."""
    return CheckpointMetadata(
        spec=SPEC,
        recipe="efficient",
        tricks=("cosine",),
        top1=12.5,
        mean=(101.0, 102.0, 103.0),
        std=(51.0, 52.0, 53.0),
        channel_order="BGR",
        seed=5,
        weights="raw",
    )


@pytest.fixture
def checkpoint(tmp_path, checkpoint_metadata):
    """A hand-off file whose tensors differ from those of any fresh backbone."""
    torch.manual_seed(11)
    network = backbones.create(SPEC)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape))
    path = tmp_path / "handed-off.safetensors"
    backbones.export_checkpoint(network, path, checkpoint_metadata)
    return path


@pytest.fixture
def run_seg():
    """Runs `python -m seg.train` in this process on a data folder and returns its exit status."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmseg.visualization import SegLocalVisualizer

    from seg.train import Segmentation, main

    def forget():
        # mmengine names a run by the second, and two runs of one second would share log and history.
        for logger in MMLogger._instance_dict.values():
            for handler in logger.handlers:
                handler.close()
        for manager in (DefaultScope, MessageHub, MMLogger, SegLocalVisualizer):
            manager._instance_dict.clear()

    def run(data, work_dir, *options, budget="smoke"):
        forget()
        common = ["mini", "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
        return main(Segmentation(), [*common, *map(str, options)])

    yield run
    forget()
