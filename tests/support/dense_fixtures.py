"""Fixtures of detection and segmentation: tiny datasets, a pretrained checkpoint, and runs in this process."""

import functools

import pytest

from support.checkpoints import METADATA, SPEC, write_checkpoint
from support.dataset_trees import tiny_ade20k, tiny_devkit
from support.runners import forget_runs
from support.tasks import resolved, run_task


@pytest.fixture
def tiny_voc(tmp_path):
    """Four training and two test images of several sizes with two classes, in a devkit of one year."""
    return tiny_devkit(tmp_path / "VOCdevkit")


@pytest.fixture
def tiny_ade(tmp_path):
    """Four training and two validation pairs of several sizes with three classes."""
    return tiny_ade20k(tmp_path / "ADEChallengeData2016")


@pytest.fixture
def checkpoint_metadata():
    """The metadata of `checkpoint`."""
    return METADATA


@pytest.fixture
def checkpoint(tmp_path):
    """A pretrained checkpoint whose tensors differ from those of any fresh backbone."""
    return write_checkpoint(tmp_path / "pretrained.safetensors")


@pytest.fixture
def run_det():
    """Run detection on a data folder; return its exit status."""
    from det.train import Detection

    yield functools.partial(run_task, Detection())
    forget_runs()


@pytest.fixture
def run_seg():
    """Run segmentation on a data folder; return its exit status."""
    from seg.train import Segmentation

    yield functools.partial(run_task, Segmentation())
    forget_runs()


@pytest.fixture
def assemble_det(tiny_voc, tmp_path):
    """Assemble the mini config with tricks and overrides, and build its detector."""
    from mmengine.registry import MODELS, DefaultScope

    from det.train import Detection

    def assemble(*tricks, config="mini", spec=SPEC, **overrides):
        data, work_dir = tiny_voc.root.parent, tmp_path / "work"
        found = resolved(Detection(), data, work_dir, config, spec, tricks=tricks, **overrides)
        with DefaultScope.overwrite_default_scope("mmdet"):
            return found, MODELS.build(found.model)

    return assemble
