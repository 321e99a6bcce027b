"""Expected seconds of runs."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from benchmarks.plan.plan import CACHED, Plan
from benchmarks.plan.store import RunKey
from benchmarks.plan.timings import Timings


def expected_seconds(plan: Plan) -> Mapping[RunKey, float]:
    """Return the expected seconds of each selected run; 0 if it is done.

    A run without a timing takes the median of its task's known runs, else of all; without any, all take one second.
    """
    timings = Timings(plan.root / "runs" / ".cache" / "timings.json")
    costs = timings.estimate(plan.wanted, plan.selection.budget)
    known: dict[str, list[float]] = {}
    for run, cost in zip(plan.wanted, costs, strict=True):
        if cost is not None:
            known.setdefault(run.key.task, []).append(cost.seconds)
    every = [seconds for of_task in known.values() for seconds in of_task] or [1.0]
    found = {}
    for run, cost in zip(plan.wanted, costs, strict=True):
        seconds = median(known.get(run.key.task, every)) if cost is None else cost.seconds
        found[run.key] = 0.0 if run.state == CACHED else seconds
    return found
