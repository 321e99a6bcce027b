"""Fixtures of detection and segmentation: tiny datasets, a pretrained checkpoint, and runs in this process."""

import pytest

from support.checkpoints import METADATA, SPEC, write_checkpoint
from support.dataset_trees import tiny_ade20k, tiny_devkit
from support.runners import forget_runs


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


def _runner_of(task):
    """A function that runs a task in this process and returns its exit status."""
    from engine.task import main

    def run(data, work_dir, *options, budget="smoke", config="mini"):
        forget_runs()
        common = [config, "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
        return main(task, [*common, *map(str, options)])

    return run


@pytest.fixture
def run_det():
    """Run detection in this process on a data folder; return its exit status."""
    from det.train import Detection

    yield _runner_of(Detection())
    forget_runs()


@pytest.fixture
def run_seg():
    """Run segmentation in this process on a data folder; return its exit status."""
    from seg.train import Segmentation

    yield _runner_of(Segmentation())
    forget_runs()


@pytest.fixture
def assemble_det(tiny_voc, tmp_path):
    """Assemble the mini config with tricks and overrides, and build its detector."""
    from mmengine.registry import MODELS, DefaultScope

    from det.train import Detection
    from engine.cli import Options
    from engine.job import resolve_job
    from engine.task import prepare

    def assemble(*tricks, config="mini", spec=SPEC, **overrides):
        options = Options(
            config=config,
            data=tiny_voc.root.parent,
            work_dir=tmp_path / "work",
            backbone=spec,
            precision="fp32",
            tricks=tricks,
            overrides=overrides,
        )
        config = prepare(Detection(), resolve_job(options))
        with DefaultScope.overwrite_default_scope("mmdet"):
            return config, MODELS.build(config.model)

    return assemble
