"""Tiny sets in the ADE20K layout, and hand-off checkpoints."""

import pytest
from support.checkpoints import METADATA, write_checkpoint
from support.dataset_trees import AdeTree, tiny_ade20k
from support.runners import forget_runs

import seg  # noqa: F401  (before any test module imports mmseg: it puts mmcv's ops in place)


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
    return METADATA


@pytest.fixture
def checkpoint(tmp_path, checkpoint_metadata):
    """A hand-off file whose tensors differ from those of any fresh backbone."""
    return write_checkpoint(tmp_path / "handed-off.safetensors")


@pytest.fixture
def run_seg():
    """Runs `python -m seg.train` in this process on a data folder and returns its exit status."""
    from seg.train import Segmentation, main

    def run(data, work_dir, *options, budget="smoke", config="mini"):
        forget_runs()
        common = [config, "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
        return main(Segmentation(), [*common, *map(str, options)])

    yield run
    forget_runs()
