"""`run`: run a suite and print its table."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.commands.on_cluster import check_input, datasets_of, plan_for_jobs, submit
from benchmarks.commands.report import write_and_print
from benchmarks.commands.request import (
    Request,
    announce,
    check_names_and_backbones,
    make_console,
    plan_request,
    read_request,
    selection_of,
    share_machine,
    wanted_datasets,
    wanted_rows,
)
from benchmarks.plan import preflight
from benchmarks.plan.claims import CLAIMS, Owner, hold
from benchmarks.plan.compute import Ask
from benchmarks.plan.estimate import timings_of
from benchmarks.plan.plan import CACHED, Plan
from benchmarks.plan.preflight import DataState
from benchmarks.plan.store import LOG_FILE, RunKey, write_failure
from benchmarks.run.command import CommandBuilder, task_command
from benchmarks.run.display import format_seconds, make_display
from benchmarks.run.outcome import COMPLETED, FAILED, SKIPPED, STOPPED, Outcome
from benchmarks.run.runner import Runner
from benchmarks.run.stopping import Ending, Interrupted, stop_time
from benchmarks.run.times import PLANNING, REPORT, RUNNING, Times
from benchmarks.suite.model import Suite
from benchmarks.suite.names import ROOT
from contract.command_line import STOPPED as STOPPED_STATUS

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
    request = read_request(options, root)
    if options.cluster is not None:
        return _submit(options, request, ask)
    return run_request(
        request,
        jobs=options.jobs,
        gpus=options.gpus,
        fail_fast=options.fail_fast,
        stop_after=options.stop_after,
        build_command=build_command,
        ask=ask,
        only=options.only,
    )


def run_request(
    request: Request,
    *,
    jobs: int | None,
    gpus: Sequence[str] | None,
    fail_fast: bool,
    stop_after: float | None,
    build_command: CommandBuilder,
    ask: Ask | None,
    only: RunKey | None = None,
) -> int:
    """Execute a request; see `run`. `only` restricts it to one run, without a report."""
    started, times = time.monotonic(), Times()
    console = make_console()
    # A mistake in the options ends here, before there is a run folder.
    request.table()
    request.run_dir.mkdir(parents=True, exist_ok=True)
    suite = request.table()
    compute = check_names_and_backbones(suite, request, ask)
    slots, watch = share_machine(jobs, gpus, compute, selection_of(suite, request.selection, only))
    wanted = datasets_of(suite, request, None if only is None else only.task)
    data = _prepare_inputs(suite, request, wanted, console)
    plan = plan_request(suite, request, data, compute, only)
    if only is not None and (problem := check_input(plan, plan.find(only), console)) is not None:
        write_failure(plan.store.view(only), None, problem)
        console.print(escape(f"FAILED {only}: {problem}"), soft_wrap=True)
        return 1
    announce(console, plan, slots, watch)
    display = make_display(console, len(plan.wanted))
    times.places = slots.jobs
    times.harness[PLANNING] = time.monotonic() - started
    runner = Runner(
        plan,
        slots,
        display,
        timings_of(plan, slots.threads),
        build_command=build_command,
        fail_fast=fail_fast,
        ending=Ending(stop_time(started, stop_after), say=console.print),
        watch=watch,
        times=times,
    )
    if only is not None and (needs := plan.find(only).needs) is not None:
        runner.outcomes[needs] = Outcome(needs, CACHED)
    try:
        with times.phase(RUNNING):
            outcomes = runner.run()
    except Interrupted:
        display.close()
        _say_how_to_continue(console, "Interrupted", runner.outcomes.values(), plan)
        return INTERRUPTED
    finally:
        display.close()
    if only is None:
        with times.phase(REPORT):
            page = write_and_print(request.run_dir, console)
        times.write(request.run_dir)
        times.show(console)
        _summarise(console, plan, outcomes, page, time.monotonic() - started)
    left = len(plan.wanted) - len(outcomes) if runner.is_stopped else 0
    if left or any(outcome.status == STOPPED for outcome in outcomes):
        _say_how_to_continue(console, "Stopped", outcomes, plan)
        return STOPPED_STATUS
    return 1 if any(o.status in (FAILED, SKIPPED) for o in outcomes) else 0


def _submit(options: argparse.Namespace, request: Request, ask: Ask | None) -> int:
    """Submit the runs of a request as jobs of a cluster."""
    console = make_console()
    request.table()
    request.run_dir.mkdir(parents=True, exist_ok=True)
    suite = request.table()
    wanted = wanted_datasets(suite, request.selection)
    # Machines that train may have no network.
    data = _prepare_inputs(suite, request, wanted, console)
    plan, is_certain = plan_for_jobs(suite, request, data, ask)
    return submit(options, plan, console, is_certain=is_certain)


def _prepare_inputs(
    suite: Suite, request: Request, wanted: Sequence[str], console: Console
) -> dict[str, DataState]:
    """Generate missing datasets, fetch published weights, and check the data; one command at a time."""

    def say(owner: Owner) -> None:
        console.print(f"Waiting for {owner}, which prepares the data.", soft_wrap=True)

    # Downloads can take long. An owner that has died is noticed all the same.
    with hold(request.cache / CLAIMS / "inputs", say, patience=math.inf):
        preflight.generate_missing([suite.datasets[name] for name in wanted], console.print)
        rows = wanted_rows(suite, request.selection)
        preflight.fetch_published(rows, request.root, console.print)
    with console.status("Checking the data"):
        return {
            name: preflight.inspect_data(dataset, request.cache)
            if name in wanted
            else preflight.glance_at_data(dataset, request.cache)
            for name, dataset in suite.used_datasets.items()
        }


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
        + (f", {counts[STOPPED]} stopped" if counts[STOPPED] else "")
        + (f"; {len(plan.unavailable)} rows not available." if plan.unavailable else "."),
        soft_wrap=True,
    )
    console.print(f"Report: {page}", soft_wrap=True)
    unsettled = len(plan.wanted) - len(outcomes)
    if unsettled:
        why = "--fail-fast" if counts[FAILED] else "the time is over"
        console.print(f"{unsettled} runs were not started ({why}).")
    for outcome in outcomes:
        if outcome.status in (FAILED, SKIPPED):
            log = plan.run_dir / outcome.key.path / LOG_FILE
            where = f" Log: {log}" if log.is_file() and outcome.status == FAILED else ""
            console.print(escape(f"FAILED {outcome.key}: {outcome.message}{where}"), soft_wrap=True)


def _say_how_to_continue(
    console: Console, what: str, outcomes: Iterable[Outcome], plan: Plan
) -> None:
    done = sum(outcome.status in (CACHED, COMPLETED) for outcome in outcomes)
    console.print(
        f"{what}: {done} of {len(plan.wanted)} runs are done and kept. Run the same command "
        "again to continue; runs that had started go on where they were saved.",
        soft_wrap=True,
    )
