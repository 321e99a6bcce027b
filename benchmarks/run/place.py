"""Where a run trains: its GPU, its threads, and the environment that gives them to its process."""

from __future__ import annotations

import os

from benchmarks.plan.plan import Plan, PlannedRun
from contract import progress
from contract.tasks import TASKS
from datasets import listing

# How often a waiting libgomp thread spins before it sleeps. Without a limit, threads on a shared core wait for each
# other in full time slices: beside two busy processes, a step of a small network took 12 times as long as alone, with
# this limit 2.3 times; alone, the limit makes no difference (docs/LOG.md).
SPIN_COUNT = "20000"

# glibc returns freed memory to the kernel beyond 128 KiB, and asks for larger blocks each time anew; a training frees
# and allocates the same tensors in every step. With this limit, a detector's run on a CPU took 7% less time and a
# segmentor's 11% (docs/performance.md).
KEPT_BYTES = str(2**30)
_ALLOCATOR = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def environment(plan: Plan, threads: int, gpu: str | None) -> dict[str, str]:
    """Return the variables of a task's process.

    Args:
        plan: The plan.
        threads: The number of threads.
        gpu: The GPUs, separated by commas; None for all or none.
    """
    paths = [str(plan.root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", SPIN_COUNT),
        **{name: os.environ.get(name, KEPT_BYTES) for name in _ALLOCATOR},
        progress.VARIABLE: "1",
        "PYTHONUNBUFFERED": "1",
        # The files of the datasets, listed once for all runs.
        listing.VARIABLE: str(plan.root / "runs" / ".cache"),
        # The user's own classes may lie elsewhere.
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        **_visible_gpus(plan, gpu),
    }


def _visible_gpus(plan: Plan, gpu: str | None) -> dict[str, str]:
    """Return the variable that gives a run its GPU, or that hides all GPUs if the user asked for the CPU."""
    variable = plan.compute.visible_variable
    if plan.selection.device == "cpu":
        return {variable: ""}
    return {} if gpu is None else {variable: gpu}


def place(plan: Plan, run: PlannedRun, gpu: str | None) -> str:
    """Describe where a run trains and in which number format, as `on GPU 3 (NVIDIA A100, bfloat16)`."""
    compute, count = plan.compute, run.processes
    dtype = compute.dtype(plan.precision(run)) if TASKS[run.key.task].trains else ""
    where = "the CPU" if compute.device == "cpu" else "the GPU"
    name = ""
    if gpu is not None:
        first = compute.gpu_name(gpu.split(",")[0])
        where, name = (f"GPU {gpu}", first) if count == 1 else (f"GPUs {gpu}", f"{count} × {first}")
    elif count > 1:
        name = f"{count} processes"
    details = ", ".join(filter(None, (name, dtype)))
    return f"on {where} ({details})" if details else f"on {where}"
