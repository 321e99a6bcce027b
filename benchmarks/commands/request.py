"""The request of a command line: suite, selection and run folder."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.plan import preflight
from benchmarks.plan.compute import Ask, Compute, find_compute
from benchmarks.plan.document import added_rows
from benchmarks.plan.gpus import Watch, check_processes, choose_gpus
from benchmarks.plan.machine import Slots, choose_slots
from benchmarks.plan.plan import Plan, make_plan
from benchmarks.plan.preflight import DataState
from benchmarks.plan.store import RunKey
from benchmarks.plan.union import earlier_plan
from benchmarks.suite.load import load_suite
from benchmarks.suite.model import Row, Suite
from benchmarks.suite.select import Selection, parse_override, select
from contract.tasks import SOURCE, TASKS
from contract.trackers import require_installed

_CONSOLE_WIDTH = 140


@dataclass(frozen=True)
class Request:
    """The suite of a command and the selected part of it.

    Attributes:
        suite: The suite as written in its file.
        selection: The selected runs and settings.
        run_dir: The run folder.
        root: The repository.
    """

    suite: Suite
    selection: Selection
    run_dir: Path
    root: Path

    @property
    def cache(self) -> Path:
        """The folder for answers and timings between commands."""
        return self.root / "runs" / ".cache"

    def table(self) -> Suite:
        """Return the suite of the whole table, including rows and seeds that the run folder already has."""
        tricks = preflight.available_tricks(self.root)
        rows, seeds = [], ()
        earlier = earlier_plan(self.run_dir, self.suite.name, self.selection.budget)
        if earlier is not None:
            rows, seeds = added_rows(earlier, self.root), earlier.seeds
        return select(self.suite, self.selection, tricks, earlier_rows=rows, earlier_seeds=seeds)


def read_request(options: argparse.Namespace, root: Path) -> Request:
    """Return the request of a command line."""
    suite, selection = load_suite(options.suite), read_selection(options)
    return Request(suite, selection, run_folder(options, suite.name, selection, root), root)


def read_selection(options: argparse.Namespace) -> Selection:
    """Return the selection of a command line."""
    overrides: dict[str, dict[str, object]] = {}
    for text in options.set:
        task, key, value = parse_override(text)
        overrides.setdefault(task, {})[key] = value
    # The last one of each kind counts.
    processes = dict([*options.processes_per_run, *options.gpus_per_run])
    folders = {task: getattr(options, f"{task}_data") for task in TASKS}
    require_installed(options.tracker)
    return Selection(
        budget=options.budget,
        precision=options.precision,
        device=options.device,
        deterministic=options.deterministic,
        trackers=tuple(options.tracker),
        processes=processes.get(False, 1),
        teacher_processes=processes.get(True),
        gloo=not options.gpus_per_run,
        backbones=tuple(options.backbone),
        rows=None if options.rows is None else tuple(options.rows),
        tasks=None if options.tasks is None else tuple(options.tasks),
        seeds=None if options.seeds is None else tuple(dict.fromkeys(options.seeds)),
        overrides=overrides,
        data={task: folder for task, folder in folders.items() if folder is not None},
    )


def run_folder(options: argparse.Namespace, suite: str, selection: Selection, root: Path) -> Path:
    """Return the run folder; other budgets, and settings that change numbers, have separate folders."""
    if options.run_dir is not None:
        return options.run_dir.absolute()
    budget = "" if selection.budget == "full" else f"-{selection.budget}"
    return root / "runs" / f"{suite}{budget}{selection.suffix}"


def check_names_and_backbones(suite: Suite, request: Request, ask: Ask | None) -> Compute:
    """Check all names of a suite, and describe the device and all backbones.

    Raises:
        UserError: A name is unknown, the weights of a selected row do not exist, or the device cannot be used.
    """
    preflight.check_names(suite, request.root, wanted_rows(suite, request.selection))
    specs = {row.backbone for row in (*suite.rows, *suite.teachers)}
    device = request.selection.device
    compute = find_compute(specs, request.root, request.cache, ask, device)
    preflight.check_device(compute, request.selection.precision)
    return compute


def wanted_rows(suite: Suite, selection: Selection) -> list[Row]:
    """Return the rows that a command runs."""
    return [row for row in suite.rows if selection.rows is None or row.name in selection.rows]


def wanted_datasets(suite: Suite, selection: Selection) -> list[str]:
    """Return the names of the datasets that the runs of a command use."""
    needed = set(suite.tasks if selection.tasks is None else selection.tasks)
    if any(row.trains_classifier for row in wanted_rows(suite, selection)):
        needed.add(SOURCE)
    elif SOURCE in needed and len(needed) > 1:
        needed.remove(SOURCE)
    return list(dict.fromkeys(suite.tasks[name].data for name in suite.tasks if name in needed))


def plan_request(
    suite: Suite,
    request: Request,
    data: dict[str, DataState],
    compute: Compute,
    only: RunKey | None = None,
) -> Plan:
    """Return the plan of a request; see `make_plan`."""
    return make_plan(
        suite,
        request.selection,
        data,
        root=request.root,
        run_dir=request.run_dir,
        compute=compute,
        only=only,
    )


def make_console() -> Console:
    """Return the console for standard output; wide if no terminal limits it."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_CONSOLE_WIDTH)


def selection_of(suite: Suite, selection: Selection, only: RunKey | None) -> Selection:
    """Return a selection with the processes of a single run, for a machine that trains no other; None for all runs."""
    if only is None:
        return selection
    is_teacher = only.row in {teacher.name for teacher in suite.teachers}
    processes = (selection.teacher_processes if is_teacher else None) or selection.processes
    return replace(selection, processes=processes, teacher_processes=None)


def share_machine(
    jobs: int | None, gpus: Sequence[str] | None, compute: Compute, selection: Selection
) -> tuple[Slots, Watch | None]:
    """Choose the number of concurrent runs and their GPUs.

    Args:
        jobs: Value of the option `--jobs`.
        gpus: Value of the option `--gpus`.
        compute: The device of the runs.
        selection: The selection.

    Returns:
        The shares, and what tells which GPUs other processes occupy; None if they do not matter.

    Raises:
        UserError: The GPUs do not exist, or are too few.
    """
    chosen = choose_gpus(compute, gpus)
    check_processes(compute, chosen, selection)
    most = max(selection.processes, selection.teacher_processes or 1)
    slots = choose_slots(jobs, chosen, selection.processes, most)
    watched = [gpu for gpu in compute.gpus if gpu.id in chosen]
    return slots, Watch(watched) if watched and gpus is None else None


def announce(console: Console, plan: Plan, slots: Slots, watch: Watch | None = None) -> None:
    """Print a summary of the plan, the device of its runs, and the GPUs that other processes occupy."""
    done = sum(run.state == "cached" for run in plan.wanted)
    others = len(plan.runs) - len(plan.wanted)
    also = f" (of {len(plan.runs)} in the table)" if others else ""
    console.print(
        f"Suite {plan.suite.name}, budget {plan.selection.budget}: {len(plan.wanted)} runs{also}, "
        f"{done} done before; {slots.jobs} at a time ({slots.reason}). Folder: {plan.run_dir}",
        soft_wrap=True,
    )
    console.print(escape(_device_in_words(plan.compute)), soft_wrap=True)
    if watch is not None:
        for gpu, reason in watch.occupied(slots.gpus).items():
            watch.is_news(gpu, least_times=1)
            text = f"GPU {gpu}: {reason}. No run starts on it for now; --gpus uses it all the same."
            console.print(escape(text), soft_wrap=True)
    for name, why in plan.unavailable.items():
        console.print(escape(f"Row {name}: {why}."), soft_wrap=True)


def _device_in_words(compute: Compute) -> str:
    """Describe the device and the GPUs, also those that no run uses."""
    used = Counter(gpu.name for gpu in compute.gpus if gpu.left_out is None)
    names = ", ".join(f"{count} × {name}" for name, count in used.items())
    if compute.device == "cpu":
        names = f"CPU ({compute.reason})" if compute.reason else "CPU"
    left_out = [
        f"GPU {gpu.id} ({gpu.name}): {gpu.left_out}" for gpu in compute.gpus if gpu.left_out
    ]
    return f"Device: {names or 'GPU'}." + "".join(f" Left out: {one}." for one in left_out)
