"""What the runs of a plan are expected to cost, from earlier runs and measurements; nothing is measured here.

Sources, the best one first: an earlier run of the same kind on this hardware; a measurement of its steps; the GPU-hours
that the suite states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.plan.costs import Cost, cost_of, speedup
from benchmarks.plan.hardware import hardware_of
from benchmarks.plan.machine import choose_slots
from benchmarks.plan.measurements import COSTS_FILE, Measurements
from benchmarks.plan.plan import CACHED, Plan, PlannedRun
from benchmarks.plan.store import RunKey
from benchmarks.plan.timings import Timings
from contract.machine import cpu_cores
from contract.tasks import SOURCE
from datasets.prepare.catalogue import SETS

CACHE = Path("runs", ".cache")
TIMINGS_FILE = "timings.json"
EARLIER_RUN = "earlier run"
MEASURED = "measured"
MEASURED_BEFORE = "measured, earlier code"
STATED = "stated by the suite"
UNKNOWN = "unknown"
_SHORT = 0.25


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a run.

    Attributes:
        cost: The cost; None if it is unknown.
        source: Where it comes from.
    """

    cost: Cost | None
    source: str


def measurements_of(plan: Plan, threads: int | None = None) -> Measurements:
    """Return the measurements of a plan on this machine.

    Args:
        plan: The plan.
        threads: Threads of a run; None for those of the default number of runs at a time.
    """
    if threads is None:
        threads = choose_slots(None, plan.compute.gpu_ids).threads
    hardware = hardware_of(plan.compute, threads)
    return Measurements(plan, hardware, plan.root / CACHE / COSTS_FILE)


def timings_of(plan: Plan, threads: int | None = None) -> Timings:
    """Return the costs of earlier runs on this machine; see `measurements_of`."""
    if threads is None:
        threads = choose_slots(None, plan.compute.gpu_ids).threads
    hardware = hardware_of(plan.compute, threads)
    return Timings(plan.root / CACHE / TIMINGS_FILE, hardware.key)


def estimates(
    plan: Plan, threads: int | None = None, runs: Sequence[PlannedRun] | None = None
) -> dict[RunKey, Estimate]:
    """Return the expected cost of runs.

    Args:
        plan: The plan.
        threads: Threads of a run; None for those of the default number of runs at a time.
        runs: The runs; None for all selected ones.
    """
    runs = plan.wanted if runs is None else runs
    if not runs:
        return {}
    measured = measurements_of(plan, threads)
    earlier = timings_of(plan, threads).estimate(runs, plan.selection.budget)
    return {
        run.key: _estimate(plan, run, before, measured)
        for run, before in zip(runs, earlier, strict=True)
    }


def _estimate(plan: Plan, run: PlannedRun, before: Cost | None, measured: Measurements) -> Estimate:
    cost, current = measured_cost(plan, run, measured)
    if before is not None:
        if cost is not None:
            before = replace(
                cost, seconds=before.seconds, device_bytes=before.device_bytes or cost.device_bytes
            )
        return Estimate(before, EARLIER_RUN)
    if cost is not None:
        return Estimate(cost, MEASURED if current else MEASURED_BEFORE)
    stated = _stated_seconds(plan, run)
    return Estimate(None, UNKNOWN) if stated is None else Estimate(Cost(stated), STATED)


def measured_cost(plan: Plan, run: PlannedRun, measured: Measurements) -> tuple[Cost | None, bool]:
    """Return the cost of a run from measurements, None if they are incomplete; and whether they are of today's code."""
    facts, trial = measured.facts(run), measured.trial(run)
    if facts is None or trial is None:
        return None, False
    teacher: Mapping[str, Any] | None = None
    current = facts.current and trial.current
    if run.key.task == SOURCE and run.needs is not None:
        found = measured.trial(plan.find(run.needs))
        if found is None:
            return None, False
        teacher, current = found.values, current and found.current
    sizes = None if uses_real_data(run) else published_sizes(plan, run)
    if sizes is None and not uses_real_data(run):
        return None, False
    places = max(1, len(plan.compute.gpu_ids))
    cost = cost_of(
        facts.values,
        trial.values,
        cores=max(1, cpu_cores() // places),
        sizes=sizes,
        teacher=teacher,
        processes=run.processes,
    )
    return cost, current


def uses_real_data(run: PlannedRun) -> bool:
    """Return whether a run's own data can be measured, which are missing or wrong otherwise."""
    return run.data.problem is None and run.data.fingerprint is not None


def published_sizes(plan: Plan, run: PlannedRun) -> tuple[int, int] | None:
    """Return the published numbers of training and test images of a run's dataset; None if it is none of the known."""
    path = plan.suite.datasets[run.setup.data].path
    known = {Path(dataset.folder).name: dataset.images for dataset in SETS.values()}
    return known.get(path.name)


def _stated_seconds(plan: Plan, run: PlannedRun) -> float | None:
    """Return the GPU-hours that the suite states for a classifier, in seconds; None on a CPU."""
    hours = run.row.gpu_hours
    budget = plan.selection.budget
    if hours is None or run.key.task != SOURCE or plan.compute.device == "cpu" or budget == "smoke":
        return None
    return 3600 * hours * (_SHORT if budget == "short" else 1.0) / speedup(run.processes)


def expected_seconds(plan: Plan, threads: int | None = None) -> Mapping[RunKey, float]:
    """Return the expected time of each selected run that is left, from what is known; nothing is measured.

    A run of unknown time is left out.

    Args:
        plan: The plan.
        threads: Threads of a run; None for those of the default number of runs at a time.
    """
    return {key: cost.seconds for key, cost in _known_costs(plan, threads)}


def expected_memory_bytes(plan: Plan, threads: int | None = None) -> Mapping[RunKey, int]:
    """Return the expected memory of the machine, not of its GPU, of each selected run that is left.

    A run of unknown need is left out.

    Args:
        plan: The plan.
        threads: Threads of a run; None for those of the default number of runs at a time.
    """
    known = _known_costs(plan, threads)
    return {key: cost.host_bytes for key, cost in known if cost.host_bytes is not None}


def _known_costs(plan: Plan, threads: int | None) -> list[tuple[RunKey, Cost]]:
    """Return the costs of the selected runs that are left, of which a cost is known."""
    found = estimates(plan, threads, runs_left(plan))
    return [(key, one.cost) for key, one in found.items() if one.cost is not None]


def runs_left(plan: Plan) -> list[PlannedRun]:
    """Return the selected runs that are not finished, each identity once."""
    return [run for run in plan.wanted if run.state != CACHED and run.twin is None]
