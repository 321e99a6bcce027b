"""The op checks pass here, and a broken op fails its own check and no other."""

import sys

import pytest
import torch
import torchvision

from engine.acceptance.ops import check_ops

KERNELS = sys.modules["mmcv._ext"]


def verdicts():
    found = {}
    for line in check_ops("cpu"):
        found.setdefault(line.check.split(" on ")[0], set()).add(line.verdict)
    return found


@pytest.fixture(scope="module")
def names():
    found = verdicts()
    assert set().union(*found.values()) == {"ok"}
    return set(found)


def test_all_ops_are_checked(names):
    assert names == {"nms", "roi_align", "sigmoid_focal_loss", "deform_conv2d"}


def scaled(place, name, factor, index):
    """Return a kernel of mmcv whose output, its argument number `index`, is multiplied by a factor."""
    original = getattr(place, name)

    def broken(*arguments, **keywords):
        original(*arguments, **keywords)
        arguments[index].mul_(factor)

    return broken


@pytest.mark.parametrize(
    ("op", "kernel", "index"),
    [
        ("roi_align", "roi_align_forward", 2),
        ("roi_align", "roi_align_backward", 4),
        ("sigmoid_focal_loss", "sigmoid_focal_loss_forward", 3),
        ("sigmoid_focal_loss", "sigmoid_focal_loss_backward", 3),
    ],
)
def test_broken_kernel(names, monkeypatch, op, kernel, index):
    if op == "sigmoid_focal_loss" and not hasattr(KERNELS, kernel):
        pytest.skip("mmcv computes it in Python on a CPU")
    monkeypatch.setattr(KERNELS, kernel, scaled(KERNELS, kernel, 1.05, index))
    assert verdicts() == {name: {"failed" if name == op else "ok"} for name in names}


def test_broken_nms(names, monkeypatch):
    monkeypatch.setattr(KERNELS, "nms", lambda boxes, *_, **__: torch.arange(len(boxes)))
    assert verdicts()["nms"] == {"failed"}


def test_broken_deform_conv(names, monkeypatch):
    original = torchvision.ops.deform_conv2d

    def without_mask(images, offset, weight, padding, mask):
        return original(images, offset, weight, padding=padding)

    monkeypatch.setattr(torchvision.ops, "deform_conv2d", without_mask)
    assert verdicts()["deform_conv2d"] == {"failed"}


def test_op_that_gives_nan(names, monkeypatch):
    monkeypatch.setattr(
        KERNELS, "roi_align_backward", scaled(KERNELS, "roi_align_backward", float("nan"), 4)
    )
    lines = [line for line in check_ops("cpu") if line.check.startswith("roi_align")]
    assert {line.verdict for line in lines} == {"failed"}
    assert "backward inf off" in lines[0].found
    assert lines[0].numbers["backward"] is None
