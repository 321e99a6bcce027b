"""The resources of the machine, and the number of concurrent runs."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from contract.machine import control_group, cpu_cores

# Peak of the largest task of the mini suite, rounded up.
MEMORY_PER_RUN_BYTES = 3 * 1024**3


@dataclass(frozen=True)
class Slots:
    """How concurrent runs divide the machine.

    Attributes:
        jobs: Number of runs at a time.
        threads: Number of threads of each of their processes.
        gpus: Names of GPUs as `CUDA_VISIBLE_DEVICES` takes them; empty on a CPU.
        reason: Explanation of the number.
        runs_per_gpu: Most runs on a GPU at a time.
    """

    jobs: int
    threads: int
    gpus: tuple[str, ...]
    reason: str
    runs_per_gpu: int = 1


def choose_slots(
    jobs: int | None, gpus: Sequence[str], processes: int = 1, most_processes: int = 1
) -> Slots:
    """Choose the number of concurrent runs.

    The numbers depend only on the machine, not on the remaining runs: a resumed run gets the same number of threads
    as before, and therefore sums floats in the same order.

    Args:
        jobs: The requested number; None chooses a number for the machine.
        gpus: The GPUs that runs may use.
        processes: Number of processes of a run, each with a GPU of its own.
        most_processes: The same of the run that has most.
    """
    cores, memory = cpu_cores(), memory_bytes()
    if jobs is not None:
        chosen, reason = jobs, "as asked for with --jobs"
    elif gpus:
        chosen = max(1, len(gpus) // processes)
        reason = "one per GPU" if processes == 1 else f"{processes} GPUs each"
    else:
        by_memory = max(1, memory // MEMORY_PER_RUN_BYTES)
        # Two runs with few threads each finish earlier than one after the other with many; more than one run per two
        # cores would only delay detectors that wait for a classifier.
        chosen = max(1, min(cores, max(2, cores // 2), by_memory) // processes)
        reason = f"{cores} cores, {memory / 1024**3:.0f} GiB of memory"
    at_a_time = max(chosen * processes, most_processes)
    on_a_gpu = max(1, math.ceil(chosen * processes / len(gpus))) if gpus else 1
    return Slots(chosen, max(1, cores // at_a_time), tuple(gpus), reason, on_a_gpu)


def cpu_model() -> str:
    """Return the model of the CPU, or its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def memory_bytes() -> int:
    """Return the memory that this process and its children may use."""
    total = psutil.virtual_memory().total
    limit = control_group("memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total
