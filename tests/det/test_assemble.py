"""From options to a detector: widths, strides, classes and data."""

import functools

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from support.dataset_trees import VocTree
from support.tasks import resolved

from contract.errors import UserError
from det.train import Detection

# Stage widths of the basic block (expansion 1) and of the bottleneck (4).
WIDTHS = {
    "resnet10_d-w8": [8, 16, 32, 64],
    "resnet18_b": [64, 128, 256, 512],
    "resnet50_d": [256, 512, 1024, 2048],
}


@pytest.fixture
def assembled(tiny_voc, tmp_path):
    """Assemble a config with random weights, or with those of a checkpoint."""
    return functools.partial(resolved, Detection(), tiny_voc.root.parent, tmp_path / "work")


def build(config):
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(config.model)


@pytest.mark.parametrize("name", ["mini", "voc0712"])
@pytest.mark.parametrize("spec", WIDTHS)
def test_neck_takes_backbone_widths(assembled, name, spec):
    model = assembled(name, spec).model
    assert model.neck.in_channels == WIDTHS[spec]
    assert model.rpn_head.anchor_generator.strides == [4, 8, 16, 32, 64]
    assert model.roi_head.bbox_roi_extractor.featmap_strides == [4, 8, 16, 32]
    assert model.backbone.spec == spec
    assert model.roi_head.bbox_head.num_classes == 2


@pytest.mark.parametrize(
    "delta",
    [f"backbone=dict(output_stride={stride})" for stride in (32, 16, 8)]
    + ["neck=dict(num_outs=6)"],
)
def test_anchors_and_rois_take_pyramid_strides(assembled, tmp_path, delta):
    own = tmp_path / "own.py"
    mini = Detection().configs / "mini.py"
    own.write_text(f"_base_ = {str(mini)!r}\nmodel = dict({delta})\n")
    config = assembled(own, "resnet10_d-w8")
    model = build(config).eval()
    with torch.no_grad():
        pyramid = model.extract_feat(torch.zeros(1, 3, 256, 256))
    strides = [256 // level.shape[-1] for level in pyramid]
    assert [s[0] for s in model.rpn_head.prior_generator.strides] == strides
    assert list(model.roi_head.bbox_roi_extractor.featmap_strides) == strides[:4]


def test_pretrained_weights_keep_config_freezing(assembled, checkpoint):
    config = assembled("voc0712", checkpoint=checkpoint)
    assert config.model.backbone.spec == "resnet10_d-w8"
    backbone = build(config).train().backbone
    frozen = {
        name.split(".")[0] for name, p in backbone.net.named_parameters() if not p.requires_grad
    }
    trained = {name.split(".")[0] for name, p in backbone.net.named_parameters() if p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert trained == {"layer2", "layer3", "layer4"}
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert Detection().protocol(config)["backbone"] == (
        "batch norm frozen statistics, stem and 1 stage(s) frozen"
    )


@pytest.mark.parametrize("name", ["mini", "mini_c4", "voc0712", "voc0712_c4"])
def test_trained_backbone_trick(assembled, checkpoint, name):
    config = assembled(name, checkpoint=checkpoint, tricks=("trained_backbone",))
    model = build(config).train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(norm.training for norm in norms)
    assert Detection().protocol(config)["backbone"] == "batch norm trained, no frozen stages"


def test_trained_and_frozen_backbone_conflict(assembled, checkpoint):
    with pytest.raises(UserError, match="both set frozen_backbone"):
        assembled(checkpoint=checkpoint, tricks=("trained_backbone", "frozen_backbone"))


def test_full_config_trains_on_both_years(tmp_path, assembled, tiny_voc):
    second = VocTree(tiny_voc.root.parent / "VOC2012").add("z", (64, 64), [("cat", 5, 5, 50, 50)])
    second.split("trainval", ["z"])
    config = assembled("voc0712", "resnet10_d-w8")
    with DefaultScope.overwrite_default_scope("mmdet"):
        train = DATASETS.build(config.train_dataloader.dataset)
        test = DATASETS.build(config.val_dataloader.dataset)
    names = [train.get_data_info(i)["img_id"] for i in range(len(train))]
    # mmdet's schedule repeats the data three times an epoch.
    assert names == ["000", "001", "002", "003", "z"] * 3
    assert [test.get_data_info(i)["img_id"] for i in range(len(test))] == ["004", "005"]
    assert (train.images_total, train.images_used) == (5, 5)


def test_resize_scales_boxes(assembled):
    config = assembled(backbone="resnet10_d-w8", image_scale=(192, 128))
    config.train_dataloader.dataset.dataset.dataset.datasets[0].pipeline[3].prob = 0.0
    with DefaultScope.overwrite_default_scope("mmdet"):
        sample = DATASETS.build(config.train_dataloader.dataset)[0]
    # The image is 96×64, the scale's aspect ratio; the XML counts from 1.
    assert tuple(sample["inputs"].shape) == (3, 128, 192)
    boxes = sample["data_samples"].gt_instances.bboxes
    boxes = getattr(boxes, "tensor", boxes)
    assert boxes.tolist() == [[14, 18, 78, 86], [58, 58, 118, 122]]


def test_grey_and_palette_images_load_as_colour(assembled, tiny_voc):
    from PIL import Image

    path = tiny_voc.root / "JPEGImages" / "004.jpg"
    Image.new("L", (64, 64), 77).save(path)
    config = assembled(backbone="resnet10_d-w8")
    with DefaultScope.overwrite_default_scope("mmdet"):
        sample = pseudo_collate([DATASETS.build(config.val_dataloader.dataset)[0]])
    assert np.unique(sample["inputs"][0].numpy()).tolist() == [77]
    assert sample["inputs"][0].shape[0] == 3


def test_protocol_names_computed_metric(assembled):
    eleven = Detection().protocol(assembled(backbone="resnet10_d-w8"))
    assert eleven["metric"] == "VOC07 11-point AP at IoU 0.5, difficult objects ignored"
    assert eleven["test"] == "single-scale 160x160, no flip"
    area = assembled(backbone="resnet10_d-w8", **{"val_evaluator.eval_mode": "area"})
    assert Detection().protocol(area)["metric"] == "area AP at IoU 0.5, difficult objects ignored"
