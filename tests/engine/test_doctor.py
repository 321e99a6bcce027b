"""The doctor's findings about torch, the compiled ops and the device."""

import json
import sys

import pytest
import torch
from support.gpus import A100, stub_torch

from engine import describe, doctor
from engine.doctor import NOTE, OK, REPAIR, findings
from engine.hardware import NVIDIA, Card, Hardware
from engine.runner import device as device_module


def by_subject(found):
    return {one.what: one for one in found}


@pytest.fixture
def old_driver(monkeypatch):
    """A GPU that torch cannot use."""
    stub_torch(monkeypatch)
    hardware = Hardware(NVIDIA, (Card(A100[0]),), "535.129.03")
    for module in (describe, device_module):
        monkeypatch.setattr(module, "find_hardware", lambda: hardware)


def test_reports_kernels_device_and_precision():
    found = by_subject(findings())
    kernels, tried = found["mmcv ops served by"].found.split("; ")
    assert kernels in ("torchvision", "compiled mmcv")
    assert tried == f"nms and roi_align answer on {found['device'].found.split(':')[0]}"
    assert f"torch {torch.__version__.split('+')[0]}" in found["versions"].found
    assert ", built " in found["torch"].found
    assert found["device"].found.split(":")[0] in ("cpu", "cuda")
    assert " on " in found["precision auto"].found
    assert "fp32" in found["precisions"].found
    assert {one.state for one in found.values()} <= {OK, NOTE}


def test_unusable_gpu_must_be_repaired(old_driver, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["doctor", "--json"])
    doctor.main()
    printed = json.loads(capsys.readouterr().out)
    (wrong,) = [one for one in printed["findings"] if one["state"] == REPAIR]
    assert wrong["what"] == "device"
    assert "CUDA 13.0 needs driver 580" in wrong["found"]
    assert printed["machine"]["problem"] == wrong["found"]
    torch_line = next(one["found"] for one in printed["findings"] if one["what"] == "torch")
    assert "needs driver 580 or newer; kernels for sm_75" in torch_line
    assert torch_line.endswith("driver: 535.129.03")


def test_gpus_and_their_memory(monkeypatch):
    stub_torch(monkeypatch, A100, ("Tesla T4", (7, 5)))
    monkeypatch.setattr(doctor, "_try_ops", lambda device_type: device_type)
    known = describe.facts([])
    assert (known["device"], known["problem"]) == ("cuda", None)
    assert (known["dtypes"]["auto"], known["dtypes"]["fp16"]) == ("bfloat16", "float16")
    found = by_subject(findings(known))
    assert found["GPU 0"].found == "NVIDIA A100-SXM4-80GB, 80 GiB, compute capability 8.0"
    assert (found["GPU 1"].state, "left out: GPU 0 " in found["GPU 1"].found) == (NOTE, True)
    # A quarter of the memory is taken.
    assert found["memory of GPU 0"].state == NOTE
    assert found["memory of GPU 0"].found.startswith("60.0 of 80.0 GiB free; other processes use")


def test_full_gpu_is_no_crash(monkeypatch):
    """To ask for its memory, CUDA needs some of it."""
    stub_torch(monkeypatch, A100)
    monkeypatch.setattr(doctor, "_try_ops", lambda device_type: device_type)

    def full(*_):
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …")

    monkeypatch.setattr(torch.cuda, "mem_get_info", full)
    found = by_subject(findings())["memory of GPU 0"]
    assert (found.state, found.found) == (NOTE, "CUDA error: out of memory; see nvidia-smi")


def test_failing_gpu_is_a_problem(monkeypatch):
    stub_torch(monkeypatch, A100)

    def fail(*_):
        raise RuntimeError("CUDA error: unknown error\nCUDA kernel errors might be …")

    monkeypatch.setattr(torch.cuda, "get_device_properties", fail)
    known = describe.facts([])
    assert known["device"] is None
    assert known["problem"].startswith("the GPU cannot be used: CUDA error: unknown error; repair")


def test_wrong_kernels(monkeypatch):
    kernels = sys.modules["mmcv._ext"]
    monkeypatch.setattr(kernels, "nms", lambda *_, **__: torch.tensor([0, 1]))
    with pytest.raises(RuntimeError, match=r"nms kept \[0, 1\]\); reinstall torchvision or mmcv"):
        findings()
