"""The multiply-adds of a detector, against those of its layers."""

import pytest
import torch
from mmdet.structures import DetDataSample
from torch import nn

import backbones
from det.train import Detection

SIZE = (96, 128)


def _counted_by_hooks(model, regions):
    """Sum convolutions and linear layers over one prediction; layers on RoIs are scaled to `regions` of them."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            each = layer.weight[0].numel() * output.shape[2:].numel() * output.shape[1]
        else:
            each = layer.in_features * layer.out_features
        # The one image is a batch of 1; RoIs are a batch of many.
        total += each * (1 if output.shape[0] == 1 else regions)

    hooks = [
        module.register_forward_hook(count)
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    sample = DetDataSample(
        metainfo=dict(
            img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE,
            scale_factor=(1.0, 1.0),
        )
    )  # fmt: skip
    model.eval()
    with torch.no_grad():
        model.predict(torch.randn(1, 3, *SIZE), [sample])
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("config", ["mini", "mini_c4"])
def test_all_layers_count_at_configured_rois(assemble_det, config):
    _, model = assemble_det(config=config)
    image = torch.empty(1, 3, *SIZE, device="meta")
    ours = backbones.multiply_adds_of(model, lambda net: Detection().infer(net, image))
    assert ours == _counted_by_hooks(model, model.test_cfg.rpn.max_per_img)
    assert next(model.parameters()).device.type == "cpu"
