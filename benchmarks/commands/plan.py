"""`plan`: show which runs a command would start, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from benchmarks.commands.request import (
    announce,
    check_names_and_backbones,
    make_console,
    plan_request,
    read_request,
    share_machine,
    wanted_datasets,
)
from benchmarks.plan import preflight
from benchmarks.plan.compute import Ask
from benchmarks.plan.plan import CACHED, RESUME, RUN, WAITS, Plan
from benchmarks.plan.timings import Timings, total_seconds
from benchmarks.run.display import format_seconds
from benchmarks.suite.names import ROOT
from contract.tasks import SOURCE

_STATES = {CACHED: "cached", RUN: "will run", RESUME: "will resume", WAITS: "waits"}


def plan(options: argparse.Namespace, *, root: Path = ROOT, ask: Ask | None = None) -> int:
    """Print what `run` would do, without writing into the run folder."""
    console = make_console()
    request = read_request(options, root)
    suite = request.table()
    compute = check_names_and_backbones(suite, request, ask)
    wanted = wanted_datasets(suite, request.selection)
    data = {
        name: preflight.peek_at_data(dataset, request.cache)
        if name in wanted
        else preflight.glance_at_data(dataset, request.cache)
        for name, dataset in suite.used_datasets.items()
    }
    planned = plan_request(suite, request, data, compute)
    slots, watch = share_machine(options.jobs, options.gpus, compute, request.selection)
    timings = Timings(request.cache / "timings.json")
    costs = timings.estimate(planned.wanted, request.selection.budget)
    table = Table("run", "state", "why", "time", "memory", box=None, pad_edge=False)
    for run, cost in zip(planned.wanted, costs, strict=True):
        time_and_memory = ("unknown", "unknown")
        if run.twin is not None:
            time_and_memory = ("", "")
        elif cost is not None:
            time_and_memory = (format_seconds(cost.seconds), f"{cost.memory_mib / 1024:.1f} GiB")
        table.add_row(
            escape(str(run.key)),
            "cannot run" if run.data.problem else _STATES[run.state],
            escape(run.reason.splitlines()[0]),
            *time_and_memory,
        )
    announce(console, planned, slots, watch)
    console.print(table)
    for problem in dict.fromkeys(data[name].problem for name in wanted if data[name].problem):
        console.print(escape(f"Data: {problem}"), soft_wrap=True)
    left = total_seconds(planned, costs, slots.jobs)
    known = [cost.memory_mib for cost in costs if cost is not None]
    console.print(
        f"Time left: {'unknown' if left is None else 'about ' + format_seconds(left)}; memory: "
        + (f"up to {max(known) * slots.jobs / 1024:.1f} GiB." if known else "unknown.")
    )
    if hours := _known_gpu_hours(planned):
        console.print(hours, soft_wrap=True)
    return 0


def _known_gpu_hours(planned: Plan) -> str:
    """Describe the known GPU-hours of the remaining classifiers at full length; empty if none are known."""
    left = [run for run in planned.wanted if run.key.task == SOURCE and run.state != CACHED]
    hours = [run.row.gpu_hours for run in left if run.row.gpu_hours is not None]
    if not hours or planned.selection.budget == "smoke":
        return ""
    length = " at full length" if planned.selection.budget == "short" else ""
    return (
        f"GPU-hours of {len(hours)} of the {len(left)} classifiers left{length}: about {sum(hours):,.0f}, as the "
        "suite states them."
    )
