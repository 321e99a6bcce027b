"""The decoder of training images in the identity and the command line of classification runs.

A decoder changes pixels by rounding, and so every number. On a CPU it is always the same, and nothing names it.
"""

from __future__ import annotations

from benchmarks.plan.compute import Compute
from contract.tasks import SOURCE

KEY = "decoder"


def component(compute: Compute, task: str) -> dict[str, str]:
    """Return the identity's component; empty for the decoder of runs on a CPU, and for other tasks."""
    named = task == SOURCE and compute.device == "cuda" and compute.decoder != Compute.decoder
    return {KEY: compute.decoder} if named else {}


def words(compute: Compute, task: str) -> list[str]:
    """Return the task's option, so that no run measures again and chooses otherwise."""
    named = task == SOURCE and compute.device == "cuda"
    return ["--decoder", compute.decoder] if named else []
