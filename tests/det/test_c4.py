"""Faster R-CNN without FPN, whose RoI head is the backbone's last stage."""

import json

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from support.stopping import stopped_run

import backbones
from contract.errors import UserError
from engine.runner.checkpoint_files import checkpoints
from engine.runner.unused_parameters import unused_parameters


@pytest.mark.parametrize(
    "spec", ["resnet10_d-w8", "resnet50_b-w8", "mobilenet_v1-x0.25", "inception_v3-x0.1"]
)
def test_last_stage_of_every_family(assemble_det, spec):
    config, model = assemble_det(config="mini_c4", spec=spec)
    info = backbones.create(spec).feature_info
    assert config.model.rpn_head.in_channels == info[2].channels
    assert config.model.rpn_head.anchor_generator.strides == [16]
    assert config.model.roi_head.bbox_head.in_channels == info[3].channels
    model.eval()
    with torch.no_grad():
        image = torch.randn(1, 3, 64, 96)
        *_, fourth, fifth = model.backbone.net(image)
        (seen,) = model.backbone(image)
        assert torch.equal(seen, fourth)
        assert torch.equal(model.roi_head.shared_head(fourth), fifth)
        pooled = torch.randn(5, info[2].channels, 14, 14)
        assert model.roi_head.shared_head(pooled).shape == (5, info[3].channels, 7, 7)


def test_plain_transformer_is_refused(assemble_det):
    with pytest.raises(UserError, match=r"cannot stand alone, .*; take the detector with FPN"):
        assemble_det(config="mini_c4", spec="timm:vit_tiny_patch16_224")


def test_weights_have_one_name(assemble_det):
    _, model = assemble_det(config="mini_c4")
    state = model.state_dict()
    assert not [name for name in state if "shared_head" in name]
    assert {name for name in state if name.startswith("backbone.net.layer4")}
    pointers = [tensor.data_ptr() for tensor in state.values() if tensor.numel()]
    assert len(pointers) == len(set(pointers))


def test_last_stage_does_get_a_gradient(assemble_det):
    """The maps of the backbone do not depend on it, but the RoI head does."""
    _, model = assemble_det(config="mini_c4")
    assert unused_parameters(model) == []
    del model.parts_in_heads
    assert {name.split(".")[1] for name in unused_parameters(model)} == {"layer4"}


def test_roi_head_trains_and_frozen_stem_does_not(assemble_det):
    _, model = assemble_det(config="mini_c4", **{"model.backbone.frozen_stages": 1})
    # Random weights train whole; frozen here as a pretrained backbone's would be.
    model.backbone.frozen = model.backbone.net.freeze(1)
    model.train()
    sample = DetDataSample(
        metainfo=dict(img_shape=(96, 96), pad_shape=(96, 96), batch_input_shape=(96, 96)),
        gt_instances=InstanceData(
            bboxes=torch.tensor([[8.0, 8, 60, 60]]), labels=torch.tensor([0])
        ),
        ignored_instances=InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()),
    )
    losses = model.loss(torch.randn(1, 3, 96, 96), [sample])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "acc"}
    # The RoI head's losses alone reach the last stage.
    losses["loss_cls"].backward()
    net = model.backbone.net
    assert all(p.grad is not None for p in net.layer4.parameters())
    assert all(p.grad is None for p in (*net.conv1.parameters(), *net.layer1.parameters()))


def test_run_loads_every_tensor(tiny_voc, tmp_path, run_det, checkpoint):
    work = tmp_path / "work"
    options = ("--checkpoint", checkpoint)
    assert run_det(tiny_voc.root.parent, work, *options, config="mini_c4") == 0
    result = json.loads((work / "result.json").read_text())
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] > 0
    assert result["protocol"]["detector"].startswith("Faster R-CNN, C4")


def test_stopped_run_equals_uninterrupted(
    tiny_voc, tmp_path, run_det, checkpoint, monkeypatch, capsys
):
    monkeypatch.setattr("engine.measure.costs.SECONDS", 0)
    settings = {
        "train_cfg.max_iters": 4,
        "train_cfg.val_interval": 4,
        "train_dataloader.batch_size": 2,
        "auto_scale_lr.base_batch_size": 2,
        "train_dataloader.num_workers": 0,
        "val_dataloader.num_workers": 0,
        "image_scale": (64, 64),
        "train_scales": [(64, 64)],
    }
    options = ["--checkpoint", checkpoint, "--seed", "2"]
    options += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    data, whole, resumed = tiny_voc.root.parent, tmp_path / "whole", tmp_path / "resumed"
    arguments = dict(config="mini_c4", budget="full")
    assert run_det(data, whole, *options, **arguments) == 0

    def run(*more):
        return run_det(data, resumed, *options, *more, **arguments)

    # Images of one group wait for a batch there.
    stopped_run(run, 3, resume=False, capsys=capsys)
    assert [path.name for path in checkpoints(resumed)] == ["iter_3.pth"]
    assert run("--resume") == 0
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, resumed)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert (whole / "curves.json").read_text() == (resumed / "curves.json").read_text()
    states = [torch.load(folder / "iter_4.pth")["state_dict"] for folder in (whole, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
