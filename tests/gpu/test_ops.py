"""The stand-ins for mmcv's compiled ops: forward and backward on the GPU against the CPU."""

import mmcv.ops
import pytest
import torch
from support.places import on, placed

from engine.mmcv_ops import _TorchvisionOps

HALF = {torch.bfloat16: 2e-2, torch.float16: 5e-3}


def _boxes():
    generator = torch.Generator().manual_seed(0)
    corners = 40 * torch.rand(50, 2, generator=generator)
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(50, 2, generator=generator)], dim=1)
    return boxes, torch.rand(50, generator=generator)


def _nms(device, dtype):
    boxes, scores = (tensor.to(device) for tensor in _boxes())
    kept, index = mmcv.ops.nms(boxes, scores, 0.5)
    assert {kept.device.type, index.device.type} == {device}
    return [kept.cpu(), index.cpu()]


def _roi_align(device, dtype):
    boxes, _ = _boxes()
    rois = torch.cat([(torch.arange(50) % 2)[:, None].float(), boxes], dim=1).to(device)
    maps = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    maps = maps.to(dtype).to(device).requires_grad_()
    pooled = mmcv.ops.roi_align(maps, rois.to(dtype), (3, 3), 0.25, 2, "avg", True)
    (pooled.float() * torch.arange(9.0).view(3, 3).to(device)).sum().backward()
    assert {pooled.device.type, maps.grad.device.type} == {device}
    return [pooled.detach().float().cpu(), maps.grad.float().cpu()]


def _sigmoid_focal_loss(device, dtype):
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(2))
    logits = logits.to(dtype).to(device).requires_grad_()
    labels = (torch.arange(20) % 5).to(device)
    loss = mmcv.ops.sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, "none")
    loss.float().sum().backward()
    assert {loss.device.type, logits.grad.device.type} == {device}
    return [loss.detach().float().cpu(), logits.grad.float().cpu()]


OPS = {
    "nms": _nms,
    "roi_align_forward": _roi_align,
    "roi_align_backward": _roi_align,
    "sigmoid_focal_loss_forward": _sigmoid_focal_loss,
    "sigmoid_focal_loss_backward": _sigmoid_focal_loss,
}


def test_every_op_of_the_stand_in_is_compared():
    assert {name for name in vars(_TorchvisionOps()) if not name.startswith("_")} == OPS.keys()


@pytest.mark.parametrize("compute", dict.fromkeys(OPS.values()))
@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_op_equals_that_of_the_cpu(place, compute):
    expected = compute("cpu", torch.float32)
    with placed(place) as device:
        found = compute(device, torch.float32)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("compute", [_roi_align, _sigmoid_focal_loss])
@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_op_in_sixteen_bits(place, compute, dtype):
    expected = compute("cpu", torch.float32)
    with placed(place) as device:
        found = compute(device, dtype)
    for one, other in zip(found, expected, strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=4 * HALF[dtype] * scale)
