"""From options to a segmentor: widths, classes, labels and data."""

import functools

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from support.gpus import A100, stub_torch
from support.tasks import resolved
from torch import nn

from seg.train import Segmentation

# Widths of the last and last but one stage of the basic block (expansion 1) and of the bottleneck (4).
WIDTHS = {"resnet10_d-w8": (64, 32), "resnet18_b": (512, 256), "resnet50_d": (2048, 1024)}


@pytest.fixture
def assembled(tiny_ade, tmp_path):
    """Assemble a config with random weights, or with those of a checkpoint."""
    return functools.partial(resolved, Segmentation(), tiny_ade.root, tmp_path / "work")


def build(config):
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(config.model)


def own_config(folder, text):
    path = folder / "own.py"
    mini = Segmentation().configs / "mini.py"
    path.write_text(f"_base_ = {str(mini)!r}\n{text}\n")
    return path


@pytest.mark.parametrize("name", ["mini", "ade20k"])
@pytest.mark.parametrize("spec", WIDTHS)
def test_heads_take_backbone_widths(assembled, name, spec):
    model = assembled(name, spec).model
    assert (model.decode_head.in_channels, model.auxiliary_head.in_channels) == WIDTHS[spec]
    assert (model.decode_head.num_classes, model.auxiliary_head.num_classes) == (3, 3)
    assert (model.backbone.spec, model.backbone.output_stride) == (spec, 8)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_maps_have_output_stride(assembled, tmp_path, output_stride):
    own = own_config(tmp_path, f"model = dict(backbone=dict(output_stride={output_stride}))")
    model = build(assembled(own, "resnet10_d-w8")).eval()
    with torch.no_grad():
        logits = model.decode_head(model.extract_feat(torch.zeros(1, 3, 128, 128)))
    assert tuple(logits.shape) == (1, 3, 128 // output_stride, 128 // output_stride)


def test_heads_follow_their_stage(assembled, tmp_path):
    own = own_config(tmp_path, "model = dict(auxiliary_head=dict(in_index=1))")
    assert assembled(own, "resnet50_d").model.auxiliary_head.in_channels == 512


@pytest.mark.parametrize(("auxiliary", "asked"), [(1, (1, 3)), (3, (3,)), (-2, (2, 3))])
def test_backbone_returns_needed_maps(assembled, tmp_path, auxiliary, asked):
    own = own_config(tmp_path, f"model = dict(auxiliary_head=dict(in_index={auxiliary}))")
    model = assembled(own, "resnet10_d-w8").model
    assert model.backbone.out_indices == asked
    assert asked[model.decode_head.in_index] == 3
    assert asked[model.auxiliary_head.in_index] == auxiliary % 4


@pytest.mark.parametrize("name", ["mini", "ade20k"])
@pytest.mark.parametrize("pretrained", [False, True])
def test_only_checkpoint_fills_segmentor(assembled, checkpoint, name, pretrained):
    choice = dict(checkpoint=checkpoint) if pretrained else dict(backbone="resnet10_d-w8")
    config = assembled(name, **choice)
    assert config.model.pretrained is None
    assert "open-mmlab://" not in config.dump()
    assert config.get("load_from") is None
    assert config.model.backbone.get("checkpoint") == (str(checkpoint) if pretrained else None)


@pytest.mark.parametrize("name", ["mini", "ade20k"])
def test_single_process_has_no_sync_bn(assembled, name, monkeypatch):
    model = build(assembled(name, "resnet10_d-w8"))
    assert not [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert [m for m in model.decode_head.modules() if isinstance(m, nn.BatchNorm2d)]
    # Several processes without GPUs do not have it either.
    monkeypatch.setenv("RANK", "0")
    stub_torch(monkeypatch)
    assert assembled(name, "resnet10_d-w8").model.decode_head.norm_cfg.type == "BN"
    stub_torch(monkeypatch, A100)
    assert assembled(name, "resnet10_d-w8").model.decode_head.norm_cfg.type == "SyncBN"


def test_everything_trains(assembled, checkpoint):
    for choice in (dict(backbone="resnet10_d-w8"), dict(checkpoint=checkpoint)):
        config = assembled("ade20k", **choice)
        backbone = build(config).train().backbone
        assert all(parameter.requires_grad for parameter in backbone.parameters())
        assert all(module.training for module in backbone.modules())
        assert Segmentation().protocol(config)["backbone"] == (
            "output stride 8, batch norm trained, no frozen stages"
        )


def _shares(labels):
    values, counts = np.unique(np.asarray(labels), return_counts=True)
    return dict(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True))


def test_label_one_is_class_zero_and_zero_is_ignored(assembled):
    config = assembled(
        backbone="resnet10_d-w8", image_scale=(96, 64), resize_range=(1.0, 1.0), crop_size=(64, 96)
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        train, test = (
            DATASETS.build(loader.dataset)
            for loader in (config.train_dataloader, config.val_dataloader)
        )
    assert (len(train), len(test)) == (4, 2)
    # Quarters of 0, 1, 2, 3 in the file.
    whole = test[0]["data_samples"].gt_sem_seg.data
    assert tuple(whole.shape) == (1, 64, 64)
    assert _shares(whole) == {0: 0.25, 1: 0.25, 2: 0.25, 255: 0.25}

    model = build(config)
    batch = model.data_preprocessor(pseudo_collate([train[0], train[0]]), training=True)
    seen = torch.stack([sample.gt_sem_seg.data for sample in batch["data_samples"]])
    assert set(seen.unique().tolist()) <= {0, 1, 2, 255}
    assert tuple(batch["inputs"].shape) == (2, 3, 64, 96)
    # The loss of a map that is ignored everywhere is zero, whatever the network says.
    for sample in batch["data_samples"]:
        sample.gt_sem_seg.data.fill_(255)
    losses = model.loss(batch["inputs"], batch["data_samples"])
    assert losses["decode.loss_ce"].item() == 0


def test_classes_have_distinct_colours(assembled, tiny_ade):
    tiny_ade.classes(*(f"class {i}" for i in range(150)))
    metainfo = assembled(backbone="resnet10_d-w8").val_dataloader.dataset.dataset.metainfo
    assert len(metainfo.classes) == len(metainfo.palette) == 150
    assert len({tuple(colour) for colour in metainfo.palette}) == 150
    assert (0, 0, 0) not in {tuple(colour) for colour in metainfo.palette}


def test_image_size_reaches_every_transform(assembled):
    config = assembled(
        backbone="resnet10_d-w8",
        image_scale=(200, 100),
        resize_range=(0.9, 1.1),
        crop_size=(48, 72),
    )
    steps = {step["type"]: step for step in config.train_dataloader.dataset.dataset.pipeline}
    assert steps["RandomResize"]["scale"] == (200, 100)
    assert steps["RandomResize"]["ratio_range"] == (0.9, 1.1)
    assert steps["RandomCrop"]["crop_size"] == (48, 72)
    assert config.model.data_preprocessor.size == (48, 72)
    test = {step["type"]: step for step in config.val_dataloader.dataset.dataset.pipeline}
    assert test["Resize"]["scale"] == (200, 100)
    assert Segmentation().protocol(config)["test"] == "single-scale 200x100, whole image, no flip"


def test_heads_compute_no_training_accuracy(assembled):
    model = assembled("mini", "resnet10_d-w8").model
    assert {head.type for head in (model.decode_head, model.auxiliary_head)} == {"LossOnlyFCNHead"}
