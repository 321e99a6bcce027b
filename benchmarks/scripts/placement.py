"""Simulate how the runs of `voc_ade20k` are spread over the GPUs of a machine.

Command: python -m benchmarks.scripts.placement [--gpus N …]

The simulated clock drives the same code that places real runs (benchmarks/run/schedule.py). Nothing is trained.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.plan.gpus import Watch
from benchmarks.plan.machine import Slots, choose_slots
from benchmarks.plan.plan import Plan, make_plan
from benchmarks.plan.preflight import DataState, available_tricks
from benchmarks.plan.store import RunKey
from benchmarks.run.schedule import Schedule
from benchmarks.suite.load import load_suite
from benchmarks.suite.names import ROOT
from benchmarks.suite.select import Selection, select

# Hours of one A100, estimated from published throughputs: ResNet-50 2,470 images/s (NVIDIA DeepLearningExamples), the
# other networks by timm's table of training speeds; Faster R-CNN 30 images/s and FCN 25 images/s, from the times that
# mmdet and mmseg state for a V100.
TEACHERS = {"ResNet-152-D": 44.2, "ResNet-152-D-mixup": 73.7}
CLASSIFIERS = {
    "B-standard": 17.3,
    "+distill-no-mixup": 34.3,
    "+mixup-no-distill": 32.6,
    "+distill-and-mixup": 57.1,
}
OTHER_CLASSIFIERS = 19.5
OTHER_TASKS = {"det": 2.1, "seg": 14.8}
# Of N GPUs, in the speed of a run on all of them: 16,621 images/s on eight (NVIDIA DeepLearningExamples).
EFFICIENCY = 16_621 / (8 * 2_470)


def make(teacher_processes: int) -> Plan:
    """Return the plan of `voc_ade20k` with nothing done, without looking at any data."""
    selection = Selection(teacher_processes=teacher_processes)
    suite = select(load_suite("voc_ade20k"), selection, available_tricks(ROOT))
    data = {name: DataState(Path(name), name) for name in suite.used_datasets}
    with tempfile.TemporaryDirectory() as folder:
        return make_plan(suite, selection, data, root=ROOT, run_dir=Path(folder, "run"))


def hours_of(plan: Plan) -> dict[RunKey, float]:
    """Return the hours of each run on its GPUs."""
    found = {}
    for run in plan.wanted:
        key = run.key
        one = OTHER_TASKS.get(key.task) or {**CLASSIFIERS, **TEACHERS}.get(
            key.row, OTHER_CLASSIFIERS
        )
        found[key] = one / (run.processes * EFFICIENCY) if run.processes > 1 else one
    return found


def simulate(
    plan: Plan,
    durations: Mapping[RunKey, float],
    slots: Slots,
    *,
    expected: Mapping[RunKey, float] | None = None,
    watch: Watch | None = None,
) -> tuple[float, list[tuple[RunKey, float, tuple[str, ...]]]]:
    """Offer runs to a schedule as the Runner does; a run reports progress as soon as it starts.

    Args:
        plan: The plan.
        durations: How long each run takes.
        slots: The number of concurrent runs and their GPUs.
        expected: What the schedule expects; None for `durations`.
        watch: Tells which GPUs other processes occupy.

    Returns:
        When the last run ends, and the start and GPUs of each run in order.
    """
    schedule = Schedule(plan, slots, durations if expected is None else expected, watch)
    pending, done = schedule.order(plan.wanted), set[RunKey]()
    starts: list[tuple[RunKey, float, tuple[str, ...]]] = []
    ends: list[tuple[float, int, RunKey]] = []
    now = 0.0
    while pending or ends:
        schedule.begin_round()
        for run in list(pending):
            if run.needs is not None and run.needs not in done:
                continue
            gpus = schedule.find_place(run)
            if gpus is None:
                continue
            schedule.start(run, gpus)
            schedule.progressed(run.key)
            pending.remove(run)
            starts.append((run.key, now, gpus))
            heapq.heappush(ends, (now + durations[run.key], len(starts), run.key))
        if not ends:
            raise RuntimeError("nothing runs, and nothing can start")
        now, _, ended = heapq.heappop(ends)
        schedule.end(ended)
        done.add(ended)
    return now, starts


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--gpus", nargs="+", type=int, default=[1, 2, 4, 8])
    options = parser.parse_args(arguments)
    days = "days: "
    table = Table(
        "GPUs", f"{days}plan's order", "longest chain first", "teachers on all GPUs first"
    )
    alone = make(1)
    for count in options.gpus:
        slots = choose_slots(None, [str(index) for index in range(count)])
        hours = hours_of(alone)
        in_order, _ = simulate(alone, hours, slots, expected=dict.fromkeys(hours, 0.0))
        longest, _ = simulate(alone, hours, slots)
        together = make(count)
        all_gpus, _ = simulate(together, hours_of(together), slots)
        table.add_row(str(count), *(f"{each / 24:.1f}" for each in (in_order, longest, all_gpus)))
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
