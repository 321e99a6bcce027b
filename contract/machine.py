"""The processor cores that a process may use; the harness and the tasks divide them."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota, period = [*control_group("cpu.max").split(), "", ""][:2]
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    # Slurm binds processes to their cores on some clusters only.
    allocated = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(cores, max(1, int(allocated))) if allocated.isdigit() else cores


def control_group(name: str) -> str:
    """Return a limit of the container that this process runs in; empty if there is none."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
