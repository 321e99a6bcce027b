"""Queries to torch: one for all backbones and the device, repeated only after a change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.gpus import write_files
from support.world import answer, forget_digests, make_root

from benchmarks.plan import compute
from benchmarks.plan.compute import find_compute, require_success
from benchmarks.suite.names import ROOT
from contract.errors import UserError


class Asked:
    def __init__(self) -> None:
        self.times: list[list[str]] = []

    def __call__(self, specs):
        self.times.append(list(specs))
        return answer(specs)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    forget_digests()
    return make_root(tmp_path)


def test_describes_backbones_once_and_caches(root):
    ask = Asked()
    for specs in (["resnet10", "resnet18"], ["resnet18", "resnet34"], ["resnet10"]):
        found = find_compute(specs, root, root, ask)
        assert set(found.parameters) == set(specs)
        assert (found.device, found.dtype("auto"), found.dtype("fp16")) == (
            "cpu",
            "float32",
            "fp16",
        )
    assert ask.times == [["resnet10", "resnet18"], ["resnet34"]]


def test_cache_follows_network_sources(root):
    ask = Asked()
    find_compute(["resnet10"], root, root, ask)
    (root / "backbones/importing.py").write_text("TENSORS = 9\n", encoding="utf-8")
    forget_digests()
    find_compute(["resnet10"], root, root, ask)
    assert len(ask.times) == 1
    (root / "backbones/resnet.py").write_text("WIDTH = 9\n", encoding="utf-8")
    forget_digests()
    find_compute(["resnet10"], root, root, ask)
    assert len(ask.times) == 2


def test_cache_follows_gpus(root, monkeypatch):
    ask = Asked()
    find_compute(["resnet10"], root, root, ask)
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "7")
        find_compute(["resnet10"], root, root, ask)
    find_compute(["resnet10"], root, root, ask, "cpu")
    find_compute(["resnet10"], root, root, ask, "cpu")
    assert ask.times == [["resnet10"], [], [], [], []]


@pytest.mark.parametrize(
    "name",
    [
        "dev/nvidia1",
        "dev/kfd",
        "proc/driver/nvidia/version",
        "proc/driver/nvidia/gpus/0000:1b:00.0/information",
        "proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access",
        "sys/class/kfd/kfd/topology/nodes/2/properties",
        "sys/module/amdgpu/version",
    ],
)
def test_machine_follows_devices_and_drivers(tmp_path, name):
    root = write_files(tmp_path, {"dev/nvidia0": "", "proc/cpuinfo": "flags: sse\n"})
    before = compute._machine(root)
    assert compute._machine(root) == before
    write_files(root, {name: "changed"})
    assert compute._machine(root) != before


def test_gpus_and_reason_are_cached(root):
    gpus = [
        {"id": "MIG-1", "name": "A100 3g.40gb", "left_out": None},
        {"id": "1", "name": "T4", "left_out": "it differs"},
    ]
    facts = {"gpus": gpus, "device": "cuda", "device_reason": "asked for"}
    for ask in (lambda specs: {**answer(specs), **facts}, answer):
        found = find_compute(["resnet10"], root, root, ask)
        assert (found.device, found.reason, found.gpu_ids) == ("cuda", "asked for", ("MIG-1",))
        assert found.gpu_name("MIG-1") == "A100 3g.40gb"
        assert found.gpus[1].left_out == "it differs"


def test_problem_is_asked_again(root):
    """It is going to be repaired, by ways that leave no trace here."""
    found = find_compute(
        ["resnet10"], root, root, lambda specs: {**answer(specs), "device": None, "problem": "old"}
    )
    assert found.problem == "old"
    assert find_compute(["resnet10"], root, root, answer).problem is None


def test_cache_follows_own_network(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root))
    (root / "my_net.py").write_text("WIDTH = 8\n", encoding="utf-8")
    asked: list[list[str]] = []

    def ask(specs):
        asked.append(list(specs))
        return {**answer([]), "backbones": {spec: {"parameters": 1} for spec in specs}}

    for _ in range(2):
        find_compute(["my_net:Net"], root, root, ask)
    (root / "my_net.py").write_text("WIDTH = 9\n", encoding="utf-8")
    forget_digests()
    find_compute(["my_net:Net"], root, root, ask)
    assert asked == [["my_net:Net"], ["my_net:Net"]]


def test_unknown_backbones_are_reported_together(root):
    ask = Asked()
    with pytest.raises(UserError) as caught:
        find_compute(["a", "b", "resnet10"], root, root, ask)
    assert str(caught.value) == "unknown backbone 'a'\nunknown backbone 'b'"
    find_compute(["resnet10"], root, root, ask)
    assert len(ask.times) == 1


def test_engine_describes_many_in_one_process(tmp_path, monkeypatch):
    started, run = [], subprocess.run

    def count(command, **options):
        started.append(command)
        return run(command, **options)

    monkeypatch.setattr(compute.subprocess, "run", count)
    forget_digests()
    found = find_compute(["resnet10_d-w24", "mobilenet_v1-x0.5"], ROOT, tmp_path)
    assert len(started) == 1
    assert found.device in ("cpu", "cuda")
    assert bool(found.gpus) == (found.device == "cuda")
    assert found.reason
    assert found.dtype("fp32") == "float32"
    assert found.dtype("auto") in ("float32", "bfloat16", "float16")
    assert found.parameters["resnet10_d-w24"] > 100_000
    with pytest.raises(UserError, match="unknown backbone 'resnett10'"):
        find_compute(["resnett10"], ROOT, tmp_path)


def test_killed_process_is_named():
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    with pytest.raises(
        UserError, match=r"was ended by signal 9\. If nobody did so, memory ran out"
    ):
        require_success(answer)
