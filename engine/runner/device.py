"""The device of a run: its choice, its name, and the memory that the run needed."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.device import utils as mmengine_device

from contract.errors import UserError, unknown
from contract.launch import FILES_VARIABLE, mapped_files_mib
from contract.settings import DEVICES
from engine.gpus import (
    CUDA_VARIABLE,
    HIP_VARIABLE,
    check_architecture,
    gpu_index,
    hidden_by,
    unusable,
)
from engine.hardware import find_hardware

# torch then reads the variables above at each question, and not only when the driver starts, which it does while
# mmengine is imported.
_NO_GPU = {CUDA_VARIABLE: "", HIP_VARIABLE: "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


@dataclass(frozen=True)
class Device:
    """A choice and its reason.

    Attributes:
        type: `cpu` or `cuda`, which is torch's name for AMD's GPUs too.
        reason: Why it was chosen, as one clause.
    """

    type: str
    reason: str


def resolve_device(requested: str = "auto") -> Device:
    """Resolve `auto` for this machine, or check that the requested device can be used.

    A GPU that is present but that torch cannot use is never replaced by the CPU.

    Args:
        requested: One of `DEVICES`.

    Raises:
        UserError: The device is unknown, there is no GPU, or torch cannot use the one that is present.
    """
    if requested not in DEVICES:
        raise unknown("device", requested, DEVICES)
    if requested == "cpu":
        return Device("cpu", "asked for")
    asked_for = requested == "cuda"
    if torch.cuda.is_available():
        index = gpu_index()
        if index < torch.cuda.device_count() and (problem := check_architecture(index)):
            raise UserError(problem)
        return Device("cuda", "asked for" if asked_for else "torch can use it")
    if (hidden := hidden_by()) is not None:
        if asked_for:
            raise UserError(
                f"--device cuda was given, but {hidden} hides all GPUs; remove the variable, or use --device cpu"
            )
        return Device("cpu", f"{hidden} hides all GPUs")
    hardware = find_hardware()
    if hardware.cards:
        raise UserError(unusable(hardware))
    if asked_for:
        raise UserError(
            "--device cuda was given, but this machine shows no GPU; start it with one (a container needs "
            "`--gpus all`), or use --device cpu"
        )
    return Device("cpu", "this machine shows no GPU")


@contextmanager
def pinned_to(device_type: str) -> Iterator[None]:
    """Keep mmengine's Runner and everything that asks torch for a GPU on the resolved device.

    mmengine decides at import where its Runner puts the model. On `cpu`, the GPUs are also hidden: torch answers that
    there is none, provided that it has not used one in this process.
    """
    changes = _NO_GPU if device_type == "cpu" and torch.cuda.is_available() else {}
    before = {name: os.environ.get(name) for name in changes}
    default = mmengine_device.DEVICE
    os.environ.update(changes)
    mmengine_device.DEVICE = device_type
    try:
        yield
    finally:
        mmengine_device.DEVICE = default
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def device(device_type: str) -> dict[str, Any]:
    """Return type, name and number of the training devices.

    Args:
        device_type: The resolved device, `cpu` or `cuda`.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if device_type == "cuda":
        return {"type": "cuda", "name": torch.cuda.get_device_name(), "count": world_size}
    return {"type": "cpu", "name": _cpu_name(), "count": torch.get_num_threads() * world_size}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory_mib(device_type: str) -> float:
    """Return the peak memory of this process so far, in MiB.

    On a GPU, this is the peak of torch's allocator. On a CPU, it is the resident set of the process, including Python
    and its packages, also those that a parent has loaded; loader workers are separate processes and are not counted.

    Args:
        device_type: The resolved device, `cpu` or `cuda`.
    """
    if device_type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    shared = float(os.environ.get(FILES_VARIABLE, "0"))
    missing = max(0.0, shared - mapped_files_mib()) if shared else 0.0
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + missing, 1)
