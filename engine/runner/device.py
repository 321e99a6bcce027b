"""The device of a run, and the memory that it needed."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import Any

import torch


def device() -> dict[str, Any]:
    """Return type, name and number of the training devices."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
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


def peak_memory_mib() -> float:
    """Return the peak memory of this process so far, in MiB.

    On a GPU, this is the peak of torch's allocator. On a CPU, it is the resident set of the process, including Python
    and its packages; loader workers are separate processes and are not counted.
    """
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
