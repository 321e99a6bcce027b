"""What runs will cost, from earlier runs alike."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.plan.plan import Plan
from benchmarks.plan.store import RunKey
from benchmarks.plan.timings import Cost, Timings

_MIB = 1024**2


def expected_seconds(plan: Plan) -> Mapping[RunKey, float]:
    """Return the expected seconds of a plan's runs; runs of unknown length are left out."""
    return {key: cost.seconds for key, cost in _costs(plan).items()}


def expected_memory_bytes(plan: Plan) -> Mapping[RunKey, int]:
    """Return the expected memory of a plan's runs; runs of unknown need are left out."""
    return {key: int(cost.memory_mib * _MIB) for key, cost in _costs(plan).items()}


def _costs(plan: Plan) -> Mapping[RunKey, Cost]:
    timings = Timings(plan.root / "runs" / ".cache" / "timings.json")
    costs = timings.estimate(plan.runs, plan.selection.budget)
    return {run.key: cost for run, cost in zip(plan.runs, costs, strict=True) if cost is not None}
