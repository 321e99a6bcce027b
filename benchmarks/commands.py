"""What the commands of the harness do."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import preflight
from benchmarks.machine import choose_slots
from benchmarks.plan import ADOPT, CACHED, RESUME, RUN, WAITS, Plan, make_plan
from benchmarks.progress import format_seconds, make_display
from benchmarks.run import COMPLETED, FAILED, SKIPPED, CommandBuilder, Interrupted, Outcome, Runner
from benchmarks.run import stage_command as default_command
from benchmarks.run_folder import locked
from benchmarks.selection import Selection, parse_override, select
from benchmarks.suite import ROOT, Dataset, Suite, load_suite
from benchmarks.suite_schema import STAGES
from benchmarks.timings import Timings, total_seconds
from contract.errors import UserError
from datasets.kinds import KINDS, Kind
from datasets.verify import verify

SETUP_SECONDS_VARIABLE = "TRICKBENCH_SETUP_SECONDS"
MOST_TOLD = 5

_STATES = {
    CACHED: "cached",
    ADOPT: "taken over",
    RUN: "will run",
    RESUME: "will resume",
    WAITS: "waits",
}


def run(
    options: argparse.Namespace,
    *,
    root: Path = ROOT,
    build_command: CommandBuilder = default_command,
    describe: preflight.Describe | None = None,
) -> int:
    """Runs a suite and prints its table.

    Args:
        options: The parsed command line.
        root: The repository.
        build_command: Makes a cell's command line.
        describe: Describes a backbone; None for the command line of `backbones`.

    Returns:
        The exit status.
    """
    suite, selection = selected(options, root)
    return run_suite(
        options, suite, selection, root=root, build_command=build_command, describe=describe
    )


def run_suite(
    options: argparse.Namespace,
    suite: Suite,
    selection: Selection,
    *,
    root: Path,
    build_command: CommandBuilder,
    describe: preflight.Describe | None,
) -> int:
    """Does as `run` with a suite as `select` returns it, or one made of it."""
    started = time.monotonic()
    console = make_console()
    run_dir = run_folder(options, suite, root)
    cache = root / "runs" / ".cache"
    with locked(run_dir):
        parameters = _check(suite, root, cache, describe)
        datasets = _used_datasets(suite)
        preflight.generate_missing(datasets.values(), console.print)
        preflight.fetch_published(suite, root, console.print)
        with console.status("Checking the data"):
            data = {name: preflight.inspect_data(entry, cache) for name, entry in datasets.items()}
        plan = make_plan(suite, selection, data, root=root, run_dir=run_dir, parameters=parameters)
        slots = choose_slots(options.jobs)
        _announce(console, plan, f"{slots.jobs} at a time ({slots.reason})")
        display = make_display(console, len(plan.cells))
        runner = Runner(
            plan,
            slots,
            display,
            Timings(cache / "timings.json"),
            build_command=build_command,
            fail_fast=options.fail_fast,
        )
        try:
            outcomes = runner.run()
        except Interrupted:
            display.close()
            _tell_how_to_go_on(console, runner, plan)
            return 130
        finally:
            display.close()
        page = _write_reports(run_dir, console)
    _summarise(console, plan, outcomes, page, time.monotonic() - started)
    return 1 if any(o.status in (FAILED, SKIPPED) for o in outcomes) else 0


def show_plan(
    options: argparse.Namespace, *, root: Path = ROOT, describe: preflight.Describe | None = None
) -> int:
    """Prints what a run would do; writes nothing into the run folder."""
    console = make_console()
    suite, selection = selected(options, root)
    cache = root / "runs" / ".cache"
    parameters = _check(suite, root, cache, describe)
    datasets = _used_datasets(suite)
    data = {name: preflight.peek_at_data(entry, cache) for name, entry in datasets.items()}
    run_dir = run_folder(options, suite, root)
    plan = make_plan(suite, selection, data, root=root, run_dir=run_dir, parameters=parameters)
    slots = choose_slots(options.jobs)
    timings = Timings(cache / "timings.json")
    costs = timings.estimate(plan.cells, selection.budget)
    table = Table("cell", "state", "why", "time", "memory", box=None, pad_edge=False)
    for cell, cost in zip(plan.cells, costs, strict=True):
        time_and_memory = ("unknown", "unknown")
        if cell.twin is not None:
            time_and_memory = ("", "")
        elif cost is not None:
            time_and_memory = (format_seconds(cost.seconds), f"{cost.memory_mib / 1024:.1f} GiB")
        table.add_row(
            escape(str(cell.key)),
            "cannot run" if cell.data.problem else _STATES[cell.state],
            escape(cell.reason.splitlines()[0]),
            *time_and_memory,
        )
    _announce(console, plan, f"{slots.jobs} at a time ({slots.reason})")
    console.print(table)
    for problem in dict.fromkeys(state.problem for state in data.values() if state.problem):
        console.print(escape(f"Data: {problem}"), soft_wrap=True)
    left = total_seconds(plan, costs, slots.jobs)
    known = [cost.memory_mib for cost in costs if cost is not None]
    console.print(
        f"Time left: {'unknown' if left is None else 'about ' + format_seconds(left)}; memory: "
        + (f"up to {max(known) * slots.jobs / 1024:.1f} GiB." if known else "unknown.")
    )
    if hours := _known_gpu_hours(plan):
        console.print(hours, soft_wrap=True)
    return 0


def _known_gpu_hours(plan: Plan) -> str:
    """What the classifiers that are left are known to take at full length; empty where nothing is."""
    left = [c for c in plan.cells if c.key.stage == "cls" and c.state not in (CACHED, ADOPT)]
    hours = [cell.row.gpu_hours for cell in left if cell.row.gpu_hours is not None]
    if not hours or plan.selection.budget == "smoke":
        return ""
    share = " at full length" if plan.selection.budget == "short" else ""
    return (
        f"GPU-hours of {len(hours)} of the {len(left)} classifiers left{share}: about {sum(hours):,.0f}, as the "
        "suite states them."
    )


def report(options: argparse.Namespace) -> int:
    """Writes the reports of a run folder again and prints its table."""
    console = make_console()
    page = _write_reports(options.run_dir, console)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)
    return 0


def verify_command(options: argparse.Namespace) -> int:
    """Checks a run against published figures, or a data set."""
    if options.path is not None:
        return verify_data(options.subject, options.path)
    if options.subject in KINDS:
        raise UserError(
            f"verify {options.subject} was given without a folder; write `verify {options.subject} PATH`, or "
            "`verify RUN_DIR` for a run."
        )
    return verify_run(Path(options.subject))


def verify_data(kind: Kind, path: Path) -> int:
    """Checks one data set."""
    report = verify(kind, path)
    report.raise_for_errors()
    console = make_console()
    console.print(f"{path} is a sound {kind} data set.", soft_wrap=True)
    console.print(escape(report.summary()), soft_wrap=True)
    told = (*report.repaired, *report.noted)
    for problem in told[:MOST_TOLD]:
        console.print(escape(f"  {problem.path}: {problem.message}"), soft_wrap=True)
    if len(told) > MOST_TOLD:
        console.print(f"  … and {len(told) - MOST_TOLD} more")
    return 0


def verify_run(folder: Path) -> int:
    """Holds a run against the figures and curves of its protocol; 1 where it is outside a band."""
    from benchmarks.results.comparison import compare, curve_warnings
    from benchmarks.results.read import read_run

    run = read_run(folder)
    comparisons, slow = compare(run), curve_warnings(run)
    console = make_console()
    for line in (*(comparison.text for comparison in comparisons), *slow):
        console.print(escape(line), soft_wrap=True)
    outside = sum(not comparison.inside for comparison in comparisons)
    if not comparisons:
        console.print(
            f"No published figure has the protocol of {folder}: nothing was compared. See docs/evaluation.md.",
            soft_wrap=True,
        )
    else:
        console.print(f"{len(comparisons)} compared, {outside} outside their band.")
    return 1 if outside or slow else 0


def data(options: argparse.Namespace) -> int:
    """Checks a data set; `data prepare` has a module of its own, which `cli` calls."""
    return verify_data(options.kind, options.path)


def doctor(options: argparse.Namespace) -> int:
    """Shows what this machine offers."""
    from benchmarks.doctor import examine

    return examine(make_console(), ROOT)


def sweep(options: argparse.Namespace) -> int:
    """Tries learning rates and writes the suite that has the best of each row."""
    from benchmarks.sweep import sweep

    return sweep(options)


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "plan": show_plan,
    "sweep": sweep,
    "report": report,
    "verify": verify_command,
    "data": data,
    "doctor": doctor,
}


def make_console() -> Console:
    """Returns the console for standard output; wide where no terminal limits it."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def run_folder(options: argparse.Namespace, suite: Suite, root: Path) -> Path:
    """Returns the run folder; budgets other than full have folders, and so tables, of their own."""
    if options.run_dir is not None:
        return options.run_dir.absolute()
    suffix = "" if options.budget == "full" else f"-{options.budget}"
    return root / "runs" / f"{suite.name}{suffix}"


def selected(options: argparse.Namespace, root: Path) -> tuple[Suite, Selection]:
    """Returns the part of the suite that the command asks for."""
    overrides: dict[str, dict[str, object]] = {}
    for text in options.set:
        stage, key, value = parse_override(text)
        overrides.setdefault(stage, {})[key] = value
    folders = {stage: getattr(options, f"{stage}_data") for stage in STAGES}
    selection = Selection(
        budget=options.budget,
        precision=options.precision,
        backbones=tuple(options.backbone),
        rows=None if options.rows is None else tuple(options.rows),
        stages=None if options.stages is None else tuple(options.stages),
        seeds=None if options.seeds is None else tuple(dict.fromkeys(options.seeds)),
        overrides=overrides,
        data={stage: folder for stage, folder in folders.items() if folder is not None},
    )
    suite = load_suite(options.suite)
    return select(suite, selection, preflight.available_tricks(root)), selection


def _check(
    suite: Suite, root: Path, cache: Path, describe: preflight.Describe | None
) -> dict[str, int]:
    """Checks all names of a suite; returns the number of parameters by backbone spec."""
    preflight.check_names(suite, root)
    specs = {row.backbone for row in (*suite.rows, *suite.teachers)}
    answers = preflight.describe_backbones(specs, root, cache, describe)
    return {spec: int(answers[spec]["parameters"]) for spec in specs}


def _used_datasets(suite: Suite) -> dict[str, Dataset]:
    return {stage.data: suite.datasets[stage.data] for stage in suite.stages.values()}


def _announce(console: Console, plan: Plan, slots: str) -> None:
    states = Counter(cell.state for cell in plan.cells)
    taken = f", {states[ADOPT]} in other runs" if states[ADOPT] else ""
    console.print(
        f"Suite {plan.suite.name}, budget {plan.selection.budget}: {len(plan.cells)} cells, "
        f"{states[CACHED]} done before{taken}; {slots}. Folder: {plan.run_dir}",
        soft_wrap=True,
    )
    for name, why in plan.unavailable.items():
        console.print(escape(f"Row {name}: {why}."), soft_wrap=True)


def _write_reports(run_dir: Path, console: Console) -> Path:
    """Writes the reports of a run folder and prints its table; returns the path of the page."""
    # Imported late: figures take a second to import, which planning need not.
    from benchmarks.report.build import build_report
    from benchmarks.report.text import print_table
    from benchmarks.report.write import write_reports

    report = build_report(run_dir)
    page = write_reports(report)
    print_table(report, console)
    return page


def _summarise(
    console: Console, plan: Plan, outcomes: Sequence[Outcome], page: Path, seconds: float
) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    setup = os.environ.get(SETUP_SECONDS_VARIABLE)
    times = f"Suite: {format_seconds(seconds)}."
    if setup is not None:
        times = f"Set-up: {setup} s. {times}"
    console.print(
        f"{times} Cells: {counts[COMPLETED]} run, {counts[CACHED]} cached, {counts[FAILED]} "
        f"failed, {counts[SKIPPED]} skipped"
        + (f"; {len(plan.unavailable)} rows not available." if plan.unavailable else "."),
        soft_wrap=True,
    )
    console.print(f"Report: {page}", soft_wrap=True)
    unsettled = len(plan.cells) - len(outcomes)
    if unsettled:
        console.print(f"{unsettled} cells were not run, because of --fail-fast.")
    for outcome in outcomes:
        if outcome.status in (FAILED, SKIPPED):
            log = plan.run_dir / outcome.key.path / "stage.log"
            where = f" Log: {log}" if log.is_file() and outcome.status == FAILED else ""
            console.print(escape(f"FAILED {outcome.key}: {outcome.message}{where}"), soft_wrap=True)


def _tell_how_to_go_on(console: Console, runner: Runner, plan: Plan) -> None:
    done = sum(o.status in (CACHED, COMPLETED) for o in runner.outcomes.values())
    console.print(
        f"Interrupted: {done} of {len(plan.cells)} cells are done and kept. Run the same command "
        "again to go on; cells that were running resume from their last checkpoint.",
        soft_wrap=True,
    )
