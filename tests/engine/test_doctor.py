"""The doctor's findings about torch, the compiled ops and the device."""

import sys

import pytest
import torch

from engine.doctor import findings


def test_reports_kernels_device_and_precision():
    found = findings()
    kernels, tried = found["mmcv_ops_served_by"].split("; ")
    assert kernels in ("torchvision", "compiled mmcv")
    assert tried == f"nms and roi_align answer on {found['device'].split(':')[0]}"
    assert f"torch {torch.__version__.split('+')[0]}" in found["versions"]
    assert found["torch"].startswith("built ")
    assert found["device"].split(":")[0] in ("cpu", "cuda")
    assert " on " in found["precision_auto"]


def test_wrong_kernels(monkeypatch):
    kernels = sys.modules["mmcv._ext"]
    monkeypatch.setattr(kernels, "nms", lambda *_, **__: torch.tensor([0, 1]))
    with pytest.raises(RuntimeError, match=r"nms kept \[0, 1\]\); reinstall torchvision or mmcv"):
        findings()
