"""The stand-in for mmcv's compiled ops, checked through mmcv's own Python side."""

import importlib.util
import math
import sys
import types

import mmcv
import mmcv.ops
import numpy as np
import pytest
import torch

from contract.errors import UserError
from engine import mmcv_ops

stand_in_only = pytest.mark.skipif(
    not isinstance(sys.modules["mmcv._ext"], mmcv_ops._TorchvisionOps),
    reason="a compiled mmcv is installed, so the stand-in is not in use",
)

# No ratio of small areas, so that rounding decides nothing.
THRESHOLD = 1 / math.pi
HEIGHT, WIDTH, SCALE = 5, 7, 0.5
# Batch index and corners in image pixels: inside, over the border, and thinner than a location.
ROIS = [[0, 1.0, 2.0, 9.0, 7.5], [1, -3.0, 4.0, 6.0, 14.0], [1, 5.2, 3.1, 5.9, 8.3]]


def _bilinear(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
    lower = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def _roi_align(features, rois, size, scale, sampling_ratio):
    """RoIAlign of Mask R-CNN with the half-pixel shift (`aligned=True`)."""
    pooled = np.zeros((len(rois), features.shape[1], size[0], size[1]))
    for r, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c * scale - 0.5 for c in corners)
        step_y, step_x = (y2 - y1) / size[0], (x2 - x1) / size[1]
        count_y = sampling_ratio or math.ceil(step_y)
        count_x = sampling_ratio or math.ceil(step_x)
        for c, plane in enumerate(features[int(image)]):
            for i, j in np.ndindex(*size):
                points = [
                    _bilinear(
                        plane,
                        y1 + (i + (k + 0.5) / count_y) * step_y,
                        x1 + (j + (m + 0.5) / count_x) * step_x,
                    )
                    for k in range(count_y)
                    for m in range(count_x)
                ]
                pooled[r, c, i, j] = sum(points) / len(points)
    return pooled


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(2, 2, HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_roi_align_forward(features, sampling_ratio, layout):
    layer = mmcv.ops.RoIAlign((2, 3), SCALE, sampling_ratio, aligned=True)
    given = torch.from_numpy(features).to(memory_format=layout)
    pooled = layer(given, torch.tensor(ROIS))
    expected = _roi_align(features, ROIS, (2, 3), SCALE, sampling_ratio)
    np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("deterministic", [False, pytest.param(True, marks=stand_in_only)])
def test_roi_align_backward_is_adjoint(
    features, sampling_ratio, layout, deterministic, monkeypatch
):
    monkeypatch.setattr(mmcv_ops, "_must_be_deterministic", lambda _: deterministic)
    layer = mmcv.ops.RoIAlign((2, 3), SCALE, sampling_ratio, aligned=True)
    given = torch.from_numpy(features).to(memory_format=layout).requires_grad_()
    weights = np.random.default_rng(1).normal(size=(len(ROIS), 2, 2, 3)).astype(np.float32)
    (layer(given, torch.tensor(ROIS)) * torch.from_numpy(weights)).sum().backward()
    # The op is linear, so its differences along unit vectors are its gradient exactly. One unit
    # plane serves both channels, which do not mix.
    expected = np.zeros(features.shape)
    for image, y, x in np.ndindex(2, HEIGHT, WIDTH):
        unit = np.zeros((2, 1, HEIGHT, WIDTH))
        unit[image, 0, y, x] = 1
        column = _roi_align(unit, ROIS, (2, 3), SCALE, sampling_ratio)
        expected[image, :, y, x] = (weights * column).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(given.grad.numpy(), expected, atol=1e-5)


@stand_in_only
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_deterministic_gradient_equals_that_of_kernel(aligned, sampling_ratio, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    # More regions of an image than are summed at once, some of them empty or outside.
    points = torch.rand(150, 2, 2, generator=generator) * 120 - 20
    corners = points.sort(dim=1).values.flatten(1)
    corners[:2] = torch.tensor([[5.0, 5, 5, 5], [200, 200, 230, 230]])
    images = torch.randint(0, 2, (150, 1), generator=generator)
    rois = torch.cat([images, corners], dim=1)
    weights = torch.rand(150, 3, 4, 5, generator=generator)
    gradients = []
    for deterministic in (False, True):
        monkeypatch.setattr(
            mmcv_ops, "_must_be_deterministic", lambda _, asked=deterministic: asked
        )
        given = torch.rand(2, 3, 11, 13, generator=generator).requires_grad_()
        layer = mmcv.ops.RoIAlign((4, 5), 0.125, sampling_ratio, aligned=aligned)
        (layer(given, rois) * weights).sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-4)
    assert gradients[0].abs().max() > 1


def test_deterministic_form_is_for_gpus_that_ask(monkeypatch):
    on_gpu, on_cpu = types.SimpleNamespace(device=torch.device("cuda")), torch.zeros(1)
    assert not mmcv_ops._must_be_deterministic(on_gpu)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert mmcv_ops._must_be_deterministic(on_gpu)
    assert not mmcv_ops._must_be_deterministic(on_cpu)


def test_roi_align_bfloat16(features):
    coarse = torch.from_numpy(features).bfloat16().requires_grad_()
    layer = mmcv.ops.RoIAlign((2, 3), SCALE, 2, aligned=True)
    pooled = layer(coarse, torch.tensor(ROIS))
    assert pooled.dtype == torch.bfloat16
    expected = _roi_align(coarse.detach().float().numpy(), ROIS, (2, 3), SCALE, 2)
    # One rounding to 8 bits of mantissa, at the end.
    np.testing.assert_allclose(pooled.detach().float().numpy(), expected, atol=1e-5, rtol=2**-8)
    pooled.sum().backward()
    assert coarse.grad.dtype == torch.bfloat16
    inside = _roi_align(np.ones((2, 1, HEIGHT, WIDTH)), ROIS, (2, 3), SCALE, 2).sum()
    assert coarse.grad.float().sum().item() == pytest.approx(2 * inside, rel=0.01)


@stand_in_only
def test_roi_align_max_pooling_is_refused(features):
    layer = mmcv.ops.RoIAlign((2, 3), SCALE, 2, pool_mode="max", aligned=True)
    with pytest.raises(UserError, match=r"pool_mode='max'.*set pool_mode='avg' or install"):
        layer(torch.from_numpy(features), torch.tensor(ROIS))


def _naive_nms(boxes, scores, threshold, offset):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        for j in kept:
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]) + offset
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]) + offset
            shared = max(width, 0) * max(height, 0)
            areas = [
                (boxes[k, 2] - boxes[k, 0] + offset) * (boxes[k, 3] - boxes[k, 1] + offset)
                for k in (i, j)
            ]
            if shared / (sum(areas) - shared) > threshold:
                break
        else:
            kept.append(i)
    return kept


def _boxes():
    generator = np.random.default_rng(3)
    corners = generator.integers(0, 24, size=(120, 2))
    boxes = np.concatenate([corners, corners + generator.integers(2, 12, size=(120, 2))], axis=1)
    return boxes.astype(np.float32), generator.permutation(120).astype(np.float32) / 128


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nms_matches_naive(offset, dtype):
    boxes, scores = _boxes()
    # These boxes and scores are exact in bfloat16 too.
    given = torch.from_numpy(boxes).to(dtype), torch.from_numpy(scores).to(dtype)
    kept_boxes, kept = mmcv.ops.nms(*given, iou_threshold=THRESHOLD, offset=offset)
    assert kept.tolist() == _naive_nms(boxes, scores, THRESHOLD, offset)
    np.testing.assert_array_equal(kept_boxes[:, :4].float().numpy(), boxes[kept])


def test_nms_offset_conventions_differ():
    assert _naive_nms(*_boxes(), THRESHOLD, 0) != _naive_nms(*_boxes(), THRESHOLD, 1)


def test_nms_of_no_boxes():
    _, kept = mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), iou_threshold=0.5)
    assert kept.tolist() == []


def _focal_loss(logits, targets, gamma, alpha):
    """Loss and its derivative, element by element (1708.02002, Eq. 5 and appendix B)."""
    loss, slope = np.zeros(logits.shape), np.zeros(logits.shape)
    for n, c in np.ndindex(*logits.shape):
        # y is 1 for the true class, and the formulas are symmetric in y.
        y = 1 if targets[n] == c else -1
        p = 1 / (1 + math.exp(-y * logits[n, c]))
        weight = alpha if y == 1 else 1 - alpha
        loss[n, c] = -weight * (1 - p) ** gamma * math.log(p)
        slope[n, c] = weight * y * (1 - p) ** gamma * (gamma * p * math.log(p) + p - 1)
    return loss, slope


@pytest.fixture
def focal_case():
    """Logits `(6, 3)` and targets, 3 being the background."""
    logits = np.random.default_rng(4).normal(scale=3, size=(6, 3)).astype(np.float32)
    return logits, np.array([0, 1, 2, 3, 3, 0])


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.75)])
def test_sigmoid_focal_loss_and_gradient(focal_case, gamma, alpha):
    logits, targets = focal_case
    given = torch.from_numpy(logits).requires_grad_()
    labels = torch.from_numpy(targets)
    found = mmcv.ops.sigmoid_focal_loss(given, labels, gamma, alpha, None, "none")
    loss, slope = _focal_loss(logits.astype(float), targets, gamma, alpha)
    np.testing.assert_allclose(found.detach().numpy(), loss, rtol=1e-5, atol=1e-7)
    weights = np.random.default_rng(5).normal(size=logits.shape).astype(np.float32)
    (found * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(given.grad.numpy(), weights * slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_focal_loss_matches_mmdet(focal_case, weighted):
    from mmdet.models.losses import FocalLoss
    from mmdet.models.losses.focal_loss import sigmoid_focal_loss

    logits, targets = focal_case
    labels = torch.from_numpy(targets)
    settings = dict(weight=torch.arange(6.0) if weighted else None, avg_factor=4)
    results = []
    # On a CPU mmdet's class takes the formula in Python, on a GPU the function with the compiled op.
    for function in (sigmoid_focal_loss, FocalLoss()):
        given = torch.from_numpy(logits).requires_grad_()
        loss = function(given, labels, **settings)
        loss.backward()
        results.append((loss.detach(), given.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


def test_sigmoid_focal_loss_of_huge_logits():
    given = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(given, torch.tensor([0, 0]), 2.0, 0.25, None, "none")
    loss.sum().backward()
    # 0.25 · 80 for the missed class, 0.75 · 80 for the false one.
    assert loss.flatten().tolist() == pytest.approx([0, 0, 20, 60], abs=1e-6)
    assert given.grad.flatten().tolist() == pytest.approx([0, 0, -0.25, 0.75], abs=1e-6)


def test_sigmoid_focal_loss_bfloat16(focal_case):
    logits, targets = focal_case
    given = torch.from_numpy(logits).bfloat16().requires_grad_()
    found = mmcv.ops.sigmoid_focal_loss(given, torch.from_numpy(targets), 2.0, 0.25, None, "none")
    found.sum().backward()
    loss, slope = _focal_loss(given.detach().double().numpy(), targets, 2.0, 0.25)
    assert found.dtype == given.grad.dtype == torch.bfloat16
    # One rounding to 8 bits of mantissa, at the end.
    np.testing.assert_allclose(found.detach().float().numpy(), loss, rtol=2**-8, atol=1e-6)
    np.testing.assert_allclose(given.grad.float().numpy(), slope, rtol=2**-8, atol=1e-6)


@stand_in_only
def test_sigmoid_focal_loss_class_weights_are_refused(focal_case):
    logits, targets = map(torch.from_numpy, focal_case)
    with pytest.raises(UserError, match=r"weight for each class.*leave the weight out or install"):
        mmcv.ops.sigmoid_focal_loss(logits, targets, 2.0, 0.25, torch.ones(3), "none")


@stand_in_only
def test_missing_kernel():
    boxes, scores = _boxes()
    with pytest.raises(UserError, match=r"op 'softnms' of mmcv\._ext.*install a compiled mmcv"):
        mmcv.ops.soft_nms(torch.from_numpy(boxes), torch.from_numpy(scores))


@stand_in_only
def test_module_spec_and_attributes():
    spec = importlib.util.find_spec("mmcv._ext")
    assert isinstance(spec, importlib.machinery.ModuleSpec)
    assert spec.name == "mmcv._ext"
    assert not hasattr(sys.modules["mmcv._ext"], "__wrapped__")


@stand_in_only
def test_second_install_keeps_first():
    before = sys.modules["mmcv._ext"]
    assert mmcv_ops.install() == "torchvision"
    assert sys.modules["mmcv._ext"] is before


def test_loaded_compiled_module_is_kept(monkeypatch):
    real = types.ModuleType("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", real)
    assert mmcv_ops.install() == "compiled mmcv"
    assert sys.modules["mmcv._ext"] is real


def test_installed_compiled_module_is_preferred(monkeypatch, tmp_path):
    (tmp_path / "_ext.py").write_text("real = True\n")
    monkeypatch.setattr(mmcv, "__path__", [str(tmp_path), *mmcv.__path__])
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    assert mmcv_ops.install() == "compiled mmcv"
    assert "mmcv._ext" not in sys.modules
