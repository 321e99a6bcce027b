"""`plan`: show which runs a command would start, why, and what they cost."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from benchmarks.commands import prospects
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
from benchmarks.plan.estimate import Estimate, estimates, measurements_of
from benchmarks.plan.machine import Slots
from benchmarks.plan.measurements import Measurements
from benchmarks.plan.plan import CACHED, RESUME, RUN, WAITS, Plan, PlannedRun
from benchmarks.run.display import format_long
from benchmarks.run.measure import measure as measure_runs
from benchmarks.suite.names import ROOT

_STATES = {CACHED: "cached", RUN: "will run", RESUME: "will resume", WAITS: "waits"}
_GIB = 1024**3

Measure = Callable[..., None]


def plan(
    options: argparse.Namespace,
    *,
    root: Path = ROOT,
    ask: Ask | None = None,
    measure: Measure = measure_runs,
) -> int:
    """Print what `run` would do and what it costs, without writing into the run folder.

    Args:
        options: The parsed command line.
        root: The repository.
        ask: Describes the device and backbones; None for `engine.describe`.
        measure: Measures what is unknown; see `benchmarks.run.measure`.

    Returns:
        The exit status.
    """
    console = make_console()
    request = read_request(options, root)
    suite = request.table()
    compute = check_names_and_backbones(suite, request, ask)
    wanted = wanted_datasets(suite, request.selection)
    # Two iterations take less time than their measurement.
    measures = options.measure != "never" and request.selection.budget != "smoke"
    if measures:
        preflight.generate_missing([suite.datasets[name] for name in wanted], console.print)
    data = {
        name: preflight.peek_at_data(dataset, request.cache)
        if name in wanted
        else preflight.glance_at_data(dataset, request.cache)
        for name, dataset in suite.used_datasets.items()
    }
    planned = plan_request(suite, request, data, compute)
    slots, watch = share_machine(options.jobs, options.gpus, compute, request.selection)
    announce(console, planned, slots, watch)
    if measures:
        _measure(planned, slots, measure, console.print, again=options.measure == "again")
    found = estimates(planned, slots.threads)
    table = Table(
        "run", "state", "why", "time", "memory", "disk", "source", box=None, pad_edge=False
    )
    for run in planned.wanted:
        table.add_row(*map(escape, _cells(run, found[run.key])))
    console.print(table)
    for problem in dict.fromkeys(data[name].problem for name in wanted if data[name].problem):
        console.print(escape(f"Data: {problem}"), soft_wrap=True)
    for line in prospects.describe(planned, slots, found):
        console.print(escape(line), soft_wrap=True)
    return 0


def _measure(
    planned: Plan, slots: Slots, measure: Measure, say: Callable[..., None], *, again: bool
) -> None:
    """Measure what is unknown, until Ctrl-C."""
    measured: Measurements = measurements_of(planned, slots.threads)
    try:
        measure(
            planned, slots, measured, lambda text: say(escape(text), soft_wrap=True), again=again
        )
    except KeyboardInterrupt:
        say("Interrupted; what was measured is kept.")


def _cells(run: PlannedRun, estimate: Estimate) -> tuple[str, ...]:
    """Return the cells of a run's line."""
    state, why = _STATES[run.state], run.reason.splitlines()[0]
    if run.data.problem:
        state, why = "cannot run", "its data, see below"
    if run.twin is not None:
        return str(run.key), state, why, "", "", "", ""
    cost = estimate.cost
    if cost is None:
        return str(run.key), state, why, "unknown", "unknown", "unknown", ""
    memory = cost.host_bytes if cost.device_bytes is None else cost.device_bytes
    return (
        *(str(run.key), state, why, format_long(cost.seconds)),
        *(_size(memory), _size(cost.disk_bytes), estimate.source),
    )


def _size(number: int | None) -> str:
    return "unknown" if number is None else f"{number / _GIB:.1f} GiB"
