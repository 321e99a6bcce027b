"""The machine: the processor cores that a process may use, which harness and tasks divide, and what nvidia-smi says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# A broken GPU can block nvidia-smi for minutes.
SMI_SECONDS = 30


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


def nvidia_smi(*words: str) -> str:
    """Return the output of nvidia-smi; empty if it is not there or fails."""
    if shutil.which("nvidia-smi") is None:
        return ""
    try:
        answer = subprocess.run(
            ["nvidia-smi", *words],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SMI_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""
