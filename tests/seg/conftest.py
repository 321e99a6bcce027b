"""Tiny sets in the ADE20K layout, and hand-off checkpoints."""

import pytest
import torch
from support.dataset_trees import AdeTree, tiny_ade20k

import backbones
import seg  # noqa: F401  (before any test module imports mmseg: it puts mmcv's ops in place)
from backbones import CheckpointMetadata

SPEC = "resnet10_d-w8"


@pytest.fixture
def ade_tree():
    """The class that writes such a set."""
    return AdeTree


@pytest.fixture
def tiny_ade(tmp_path):
    """Four training and two validation pairs of several sizes with three classes."""
    return tiny_ade20k(tmp_path / "ADEChallengeData2016")


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
