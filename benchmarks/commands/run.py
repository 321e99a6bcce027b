"""`run`: run a suite and print its table."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.commands.report import write_and_print
from benchmarks.commands.request import (
    Request,
    announce,
    check_names_and_backbones,
    make_console,
    plan_request,
    read_request,
    wanted_datasets,
    wanted_rows,
)
from benchmarks.plan import preflight
from benchmarks.plan.compute import Ask
from benchmarks.plan.machine import choose_slots
from benchmarks.plan.plan import CACHED, Plan
from benchmarks.plan.store import LOG_FILE, locked
from benchmarks.plan.timings import Timings
from benchmarks.run.command import CommandBuilder, task_command
from benchmarks.run.display import format_seconds, make_display
from benchmarks.run.runner import COMPLETED, FAILED, SKIPPED, Interrupted, Outcome, Runner
from benchmarks.run.times import PLANNING, REPORT, RUNNING, Times
from benchmarks.suite.names import ROOT

SETUP_SECONDS_VARIABLE = "TRICKBENCH_SETUP_SECONDS"
INTERRUPTED = 130


def run(
    options: argparse.Namespace,
    *,
    root: Path = ROOT,
    build_command: CommandBuilder = task_command,
    ask: Ask | None = None,
) -> int:
    """Run a suite and print its table.

    Args:
        options: The parsed command line.
        root: The repository.
        build_command: Returns a run's command line.
        ask: Describes the device and backbones; None for `engine.describe`.

    Returns:
        The exit status.
    """
    return run_request(
        read_request(options, root),
        jobs=options.jobs,
        fail_fast=options.fail_fast,
        build_command=build_command,
        ask=ask,
    )


def run_request(
    request: Request,
    *,
    jobs: int | None,
    fail_fast: bool,
    build_command: CommandBuilder,
    ask: Ask | None,
) -> int:
    """Execute a request; see `run`."""
    started, times = time.monotonic(), Times()
    console = make_console()
    # A mistake in the options ends here, before there is a run folder.
    request.table()
    with locked(request.run_dir):
        suite = request.table()
        compute = check_names_and_backbones(suite, request, ask)
        wanted = wanted_datasets(suite, request.selection)
        preflight.generate_missing([suite.datasets[name] for name in wanted], console.print)
        rows = wanted_rows(suite, request.selection)
        preflight.fetch_published(rows, request.root, console.print)
        with console.status("Checking the data"):
            data = {
                name: preflight.inspect_data(dataset, request.cache)
                if name in wanted
                else preflight.glance_at_data(dataset, request.cache)
                for name, dataset in suite.used_datasets.items()
            }
        plan = plan_request(suite, request, data, compute)
        slots = choose_slots(jobs, compute.gpu_ids)
        announce(console, plan, slots)
        display = make_display(console, len(plan.wanted))
        times.places = slots.jobs
        times.harness[PLANNING] = time.monotonic() - started
        runner = Runner(
            plan,
            slots,
            display,
            Timings(request.cache / "timings.json"),
            build_command=build_command,
            fail_fast=fail_fast,
            times=times,
        )
        try:
            with times.phase(RUNNING):
                outcomes = runner.run()
        except Interrupted:
            display.close()
            _say_how_to_continue(console, runner, plan)
            return INTERRUPTED
        finally:
            display.close()
        with times.phase(REPORT):
            page = write_and_print(request.run_dir, console)
        times.write(request.run_dir)
    times.show(console)
    _summarise(console, plan, outcomes, page, time.monotonic() - started)
    return 1 if any(o.status in (FAILED, SKIPPED) for o in outcomes) else 0


def _summarise(
    console: Console, plan: Plan, outcomes: Sequence[Outcome], page: Path, seconds: float
) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    setup = os.environ.get(SETUP_SECONDS_VARIABLE)
    times = f"Suite: {format_seconds(seconds)}."
    if setup is not None:
        times = f"Set-up: {setup} s. {times}"
    console.print(
        f"{times} Runs: {counts[COMPLETED]} run, {counts[CACHED]} cached, {counts[FAILED]} "
        f"failed, {counts[SKIPPED]} skipped"
        + (f"; {len(plan.unavailable)} rows not available." if plan.unavailable else "."),
        soft_wrap=True,
    )
    console.print(f"Report: {page}", soft_wrap=True)
    unsettled = len(plan.wanted) - len(outcomes)
    if unsettled:
        console.print(f"{unsettled} runs were not started, because of --fail-fast.")
    for outcome in outcomes:
        if outcome.status in (FAILED, SKIPPED):
            log = plan.run_dir / outcome.key.path / LOG_FILE
            where = f" Log: {log}" if log.is_file() and outcome.status == FAILED else ""
            console.print(escape(f"FAILED {outcome.key}: {outcome.message}{where}"), soft_wrap=True)


def _say_how_to_continue(console: Console, runner: Runner, plan: Plan) -> None:
    done = sum(o.status in (CACHED, COMPLETED) for o in runner.outcomes.values())
    console.print(
        f"Interrupted: {done} of {len(plan.wanted)} runs are done and kept. Run the same command "
        "again to continue; runs that had started resume from their last checkpoint.",
        soft_wrap=True,
    )
