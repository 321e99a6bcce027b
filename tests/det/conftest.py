"""Tiny sets in the Pascal VOC layout, and hand-off checkpoints."""

import pytest
from support.checkpoints import METADATA, SPEC, write_checkpoint
from support.dataset_trees import VocTree, tiny_devkit
from support.runners import forget_runs

import det  # noqa: F401  (before any test module imports mmdet: it puts mmcv's ops in place)


@pytest.fixture
def voc_tree():
    """The class that writes such a set."""
    return VocTree


@pytest.fixture
def tiny_voc(tmp_path):
    """Four training and two test images of several sizes with two classes, in a devkit of one year."""
    return tiny_devkit(tmp_path / "VOCdevkit")


@pytest.fixture
def checkpoint_metadata():
    """Unlike any default, so that what is taken from it can be told from what is not."""
    return METADATA


@pytest.fixture
def checkpoint(tmp_path, checkpoint_metadata):
    """A hand-off file whose tensors differ from those of any fresh backbone."""
    return write_checkpoint(tmp_path / "handed-off.safetensors")


@pytest.fixture
def run_det():
    """Runs `python -m det.train` in this process on a data folder and returns its exit status."""
    from det.train import Detection, main

    def run(data, work_dir, *options, budget="smoke", config="mini"):
        forget_runs()
        common = [config, "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
        return main(Detection(), [*common, *map(str, options)])

    yield run
    forget_runs()


@pytest.fixture
def assemble_det(tiny_voc, tmp_path):
    """Assembles the mini config with tricks and overrides, and builds its detector."""
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
