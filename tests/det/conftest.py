"""Tiny sets in the Pascal VOC layout, and hand-off checkpoints."""

import pytest
import torch
from support.dataset_trees import VocTree, tiny_devkit

import backbones
import det  # noqa: F401  (before any test module imports mmdet: it puts mmcv's ops in place)
from backbones import CheckpointMetadata

SPEC = "resnet10_d-w8"


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
def run_det(tmp_path):
    """Runs `python -m det.train` in this process on a data folder and returns its exit status."""
    from mmdet.visualization import DetLocalVisualizer
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope

    from det.train import Detection, main

    def forget():
        # mmengine names a run by the second, and two runs of one second would share log and history.
        for logger in MMLogger._instance_dict.values():
            for handler in logger.handlers:
                handler.close()
        for manager in (DefaultScope, DetLocalVisualizer, MessageHub, MMLogger):
            manager._instance_dict.clear()

    def run(data, work_dir, *options, budget="smoke", config="mini"):
        forget()
        common = [config, "--data", str(data), "--work-dir", str(work_dir), "--budget", budget]
        return main(Detection(), [*common, *map(str, options)])

    yield run
    forget()


@pytest.fixture
def assemble_det(tiny_voc, tmp_path):
    """Assembles the mini config with tricks and overrides, and builds its detector."""
    from mmengine.registry import MODELS, DefaultScope

    from det.train import Detection
    from engine.options import Options
    from engine.stage import prepare, resolve_job

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
