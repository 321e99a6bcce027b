"""GPUs that are not there: for torch, for nvidia-smi, and in the kernel's files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "LOCAL_RANK")
A100 = ("NVIDIA A100-SXM4-80GB", (8, 0))
ARCHITECTURES = "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120"


def stub_torch(
    monkeypatch: pytest.MonkeyPatch,
    *gpus: tuple[str, tuple[int, int]],
    cuda: str | None = "13.0",
    hip: str | None = None,
    version: str = "2.14.1+cu130",
    architectures: str = ARCHITECTURES,
) -> None:
    """Make torch report a build and the GPUs, by name and capability; the environment's choice is removed."""
    import torch

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    answers: dict[str, Any] = {
        "is_available": lambda: bool(gpus),
        "device_count": lambda: len(gpus),
        "get_device_name": lambda index=0: gpus[index][0],
        "get_device_capability": lambda index=0: gpus[index][1],
        "get_arch_list": architectures.split,
        "get_device_properties": lambda index: SimpleNamespace(
            name=gpus[index][0],
            major=gpus[index][1][0],
            minor=gpus[index][1][1],
            total_memory=80 * 2**30,
        ),
        "mem_get_info": lambda index: (60 * 2**30, 80 * 2**30),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)


def stub_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, folder: Path, text: str | None, status: int = 0
) -> None:
    """Leave only an nvidia-smi on the PATH that prints a text; None leaves nothing there."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", str(tools))
    if text is None:
        return
    (tools / "listing").write_text(text, encoding="utf-8")
    script = tools / "nvidia-smi"
    listing = f"while IFS= read -r line; do echo \"$line\"; done < '{tools}/listing'"
    script.write_text(f"#!/bin/sh\n{listing}\nexit {status}\n", encoding="utf-8")
    script.chmod(0o755)


def stub_nvidia_smi_answers(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answers: dict[str, str]
) -> None:
    """Leave only an nvidia-smi on the PATH that answers by its first option, and fails for all others."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", str(tools))
    cases = ""
    for option, text in answers.items():
        (tools / f"answer{option}").write_text(text, encoding="utf-8")
        file = f"{tools}/answer{option}"
        cases += f"{option}) while IFS= read -r line; do echo \"$line\"; done < '{file}' ;;\n"
    script = tools / "nvidia-smi"
    script.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 9 ;;\nesac\n', encoding="utf-8")
    script.chmod(0o755)


def listing(*instances: int, name: str = A100[0]) -> str:
    """Return what `nvidia-smi -L` prints for GPUs with so many MIG instances each."""
    lines = []
    for index, count in enumerate(instances):
        lines.append(f"GPU {index}: {name} (UUID: GPU-{index}0000000-aaaa)")
        lines += [
            f"  MIG 3g.40gb     Device  {part}: (UUID: MIG-{index}{part}000000-bbbb)"
            for part in range(count)
        ]
    return "\n".join(lines) + "\n"


def write_files(root: Path, files: dict[str, str]) -> Path:
    """Write files below a folder that stands for `/`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def nvidia_files(gpus: int, driver: str = "535.129.03", *, granted: bool = True) -> dict[str, str]:
    """Return the files of NVIDIA's kernel module."""
    files = {
        "proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Thu Oct 19\n"
        "GCC version:  gcc version 12.2.0\n"
    }
    for index in range(gpus):
        facts = f"Model: \t\t {A100[0]}\nIRQ:   \t\t 95\nGPU UUID: \t GPU-{index}0000000-aaaa\n"
        files[f"proc/driver/nvidia/gpus/0000:{index}b:00.0/information"] = facts
        if granted:
            files[f"dev/nvidia{index}"] = ""
    return files


def amd_files(*gib: float) -> dict[str, str]:
    """Return the kernel's files of a processor and of AMD GPUs (gfx942) with so much memory each."""
    nodes = "sys/class/kfd/kfd/topology/nodes"
    files = {
        "dev/kfd": "",
        "sys/module/amdgpu/version": "6.10.5\n",
        f"{nodes}/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
        f"{nodes}/0/mem_banks/0/properties": "heap_type 0\nsize_in_bytes 549755813888\n",
    }
    for index, size in enumerate(gib, 1):
        files[f"{nodes}/{index}/properties"] = "simd_count 1216\ngfx_target_version 90402\n"
        files[f"{nodes}/{index}/mem_banks/0/properties"] = (
            f"heap_type 1\nsize_in_bytes {int(size * 2**30)}\n"
        )
    return files
