"""The device of a run: its choice, and that nothing leaves it."""

import os

import pytest
import torch
from mmengine.device import get_device, is_cuda_available
from mmengine.device import utils as mmengine_device
from support.gpus import A100, stub_torch

from contract.errors import UserError
from engine.hardware import NVIDIA, Card, Hardware
from engine.runner import device as device_module
from engine.runner.device import device, peak_memory_mib, pinned_to, resolve_device


def hardware(monkeypatch, *cards, driver="535.129.03"):
    found = Hardware(NVIDIA, cards, driver) if cards else Hardware()
    monkeypatch.setattr(device_module, "find_hardware", lambda: found)


def test_auto_takes_a_usable_gpu(monkeypatch):
    stub_torch(monkeypatch, A100)
    assert resolve_device("auto").type == resolve_device("cuda").type == "cuda"
    assert resolve_device("cpu").type == "cpu"


def test_auto_without_gpus(monkeypatch):
    stub_torch(monkeypatch)
    hardware(monkeypatch)
    chosen = resolve_device()
    assert (chosen.type, chosen.reason) == ("cpu", "this machine shows no GPU")
    with pytest.raises(UserError, match=r"--device cuda was given, but this machine shows no GPU"):
        resolve_device("cuda")


@pytest.mark.parametrize("requested", ["auto", "cuda"])
def test_unusable_gpu_is_no_cpu_run(monkeypatch, requested):
    stub_torch(monkeypatch)
    hardware(monkeypatch, Card(A100[0]))
    with pytest.raises(UserError, match=r"535\.129\.03.*2\.14\.1\+cu130.*driver 580.*--device cpu"):
        resolve_device(requested)
    assert resolve_device("cpu").type == "cpu"


def test_hidden_gpus_mean_the_cpu(monkeypatch):
    stub_torch(monkeypatch)
    hardware(monkeypatch, Card(A100[0]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    chosen = resolve_device()
    assert (chosen.type, chosen.reason) == ("cpu", "CUDA_VISIBLE_DEVICES='' hides all GPUs")
    with pytest.raises(UserError, match=r"CUDA_VISIBLE_DEVICES='' hides all GPUs; remove"):
        resolve_device("cuda")


def test_each_rank_checks_its_gpu(monkeypatch):
    stub_torch(monkeypatch, A100, ("Tesla V100", (7, 0)))
    assert resolve_device().type == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match=r"Tesla V100 has compute capability 7\.0"):
        resolve_device()


def test_a_rank_that_sees_one_gpu_checks_that_one(monkeypatch):
    stub_torch(monkeypatch, ("Tesla V100", (7, 0)))
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(UserError, match=r"Tesla V100 has compute capability 7\.0"):
        resolve_device()


def test_unknown_device():
    with pytest.raises(UserError, match="unknown device 'cdua'; did you mean 'cuda'"):
        resolve_device("cdua")


@pytest.fixture
def two_gpus(monkeypatch):
    """The driver reports two GPUs that torch has not touched; everything above it is torch's own code."""
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 2)
    monkeypatch.setattr(torch.cuda, "_is_compiled", lambda: True)
    monkeypatch.setattr(torch.cuda, "_initialized", False)
    monkeypatch.setattr(torch.cuda, "_cached_device_count", None)
    monkeypatch.setattr(mmengine_device, "DEVICE", "cuda")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)


def test_cpu_hides_gpus_from_torch_and_mmengine(two_gpus):
    before = dict(os.environ)
    assert is_cuda_available() and get_device() == "cuda"
    with pinned_to("cpu"):
        assert not torch.cuda.is_available()
        assert torch.cuda.device_count() == 0
        assert not is_cuda_available()
        assert get_device() == "cpu"
    assert torch.cuda.is_available() and get_device() == "cuda"
    assert dict(os.environ) == before


def test_gpu_stays_visible(two_gpus):
    with pinned_to("cuda"):
        assert is_cuda_available() and get_device() == "cuda"


def test_training_on_the_cpu_of_a_gpu_machine(two_gpus, image_folder, tmp_path):
    """The Runner would move the network to a GPU, and this training would fail."""
    import json

    from support.tasks import run_task

    from cls_train.train import Classification

    words = ["--backbone", "resnet10_b-w8", "--device", "cpu"]
    assert run_task(Classification(), image_folder, tmp_path, *words) == 0
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["device"]["type"] == "cpu"


def test_task_stops_on_an_unusable_gpu(monkeypatch, image_folder, tmp_path, capsys):
    from support.tasks import refusal_of

    from cls_train.train import Classification

    stub_torch(monkeypatch)
    hardware(monkeypatch, Card(A100[0]), driver="470.82.01")
    words = ["--backbone", "resnet10_b-w8"]
    message = refusal_of(Classification(), image_folder, tmp_path, *words, capsys=capsys)
    assert message.startswith(f"1 GPU is present ({A100[0]}, driver 470.82.01), but torch ")


def test_peak_memory_is_of_this_process():
    block = bytearray(64 * 2**20)
    assert peak_memory_mib("cpu") > len(block) / 2**20


def test_device_type_name_and_count(monkeypatch):
    found = device("cpu")
    assert set(found) == {"type", "name", "count"}
    assert found["type"] == "cpu" and found["count"] >= 1
    stub_torch(monkeypatch, A100)
    assert device("cuda") == {"type": "cuda", "name": A100[0], "count": 1}
