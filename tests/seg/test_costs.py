"""The multiply-adds of a segmentor, against those of its layers."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

import backbones
from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare
from seg.train import Segmentation

SIZE = (150, 100)


@pytest.mark.parametrize(("tricks", "windows"), [((), 1), (("sliding",), 2)])
def test_windows_count_and_auxiliary_head_does_not(tiny_ade, tmp_path, tricks, windows):
    options = Options(
        config="mini", data=tiny_ade.root, work_dir=tmp_path, backbone="resnet10_d-w8",
        precision="fp32", tricks=tricks,
    )  # fmt: skip
    config = prepare(Segmentation(), resolve_job(options))
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config.model).eval()
    total = calls = 0

    def count(layer, inputs, output):
        nonlocal total, calls
        total += layer.weight[0].numel() * output.numel()
        calls += layer is model.decode_head.conv_seg

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.inference(torch.randn(1, 3, *SIZE), [dict(ori_shape=SIZE, img_shape=SIZE)])
    real, real_calls = total, calls
    assert real_calls == windows
    image = torch.empty(1, 3, *SIZE, device="meta")
    assert backbones.multiply_adds_of(model, lambda net: Segmentation().infer(net, image)) == real
