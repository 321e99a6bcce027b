"""Measure what the runs of a plan cost: one process of each task for the schedules, then one for each kind of step."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.plan.estimate import EARLIER_RUN, estimates, runs_left, uses_real_data
from benchmarks.plan.machine import Slots
from benchmarks.plan.measurements import Measurements
from benchmarks.plan.plan import Plan, PlannedRun
from benchmarks.run.command import task_command
from benchmarks.run.place import environment
from contract.files import read_json
from contract.settings import SCHEDULES
from contract.tasks import SOURCE, TASKS
from datasets import miniworld

# Imports, start and measurement of one network in one task, on average.
SECONDS_EACH = 25
_MOST_SECONDS = 900
_PRESET = "fullsize-smoke"
# Folders in a generated world by layout. Boxes of Pascal VOC stand for those of COCO.
_FOLDERS = {
    "imagefolder": "cls",
    "voc": "VOCdevkit",
    "coco": "VOCdevkit",
    "ade20k": "ADEChallengeData2016",
}

Say = Callable[[str], None]


class _Processes:
    """The running processes of a measurement, which end with it."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()

    def run(
        self, command: Sequence[str], root: Path, variables: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run a command; return its exit status and the last lines of its output."""
        process = subprocess.Popen(
            list(command),
            cwd=root,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.add(process)
        try:
            output, _ = process.communicate(timeout=_MOST_SECONDS)
        except subprocess.TimeoutExpired:
            return 1, f"it took longer than {_MOST_SECONDS} s"
        finally:
            _kill(process)
            self._running.discard(process)
        return process.returncode, output[-4000:]

    def end(self) -> None:
        """Kill what runs."""
        for process in list(self._running):
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and its loader workers."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def measure(
    plan: Plan, slots: Slots, measured: Measurements, say: Say, *, again: bool = False
) -> None:
    """Measure what is unknown; what was measured is kept even if this is interrupted.

    Args:
        plan: The plan.
        slots: The number of runs at a time, which share the machine while they are measured as they do later.
        measured: The cache.
        say: Prints progress.
        again: Measure what is known too.
    """
    runs = _wanted(plan, slots, again)
    if not runs:
        return
    processes = _Processes()
    with tempfile.TemporaryDirectory(prefix="trickbench-plan-") as folder:
        try:
            _ask_schedules(plan, slots, measured, runs, Path(folder), processes, say, again)
            trials = _trials(runs, measured, again)
            if trials:
                _run_trials(plan, slots, measured, trials, Path(folder), processes, say)
        except BaseException:
            processes.end()
            raise


def _wanted(plan: Plan, slots: Slots, again: bool) -> list[PlannedRun]:
    """Return the runs whose cost is to be measured, and the teachers whose speed adds to it."""
    known = estimates(plan, slots.threads)
    found: dict[Any, PlannedRun] = {}
    for run in runs_left(plan):
        if not TASKS[run.key.task].trains:
            continue
        if again or known[run.key].source != EARLIER_RUN:
            found[run.key] = run
            if run.key.task == SOURCE and run.needs is not None:
                found[run.needs] = plan.find(run.needs)
    return list(found.values())


def _ask_schedules(
    plan: Plan,
    slots: Slots,
    measured: Measurements,
    runs: Sequence[PlannedRun],
    folder: Path,
    processes: _Processes,
    say: Say,
    again: bool,
) -> None:
    """Let each task resolve the schedules of its runs."""
    for task in dict.fromkeys(run.key.task for run in runs):
        commands: dict[tuple[str, ...], list[PlannedRun]] = {}
        for run in runs:
            if run.key.task != task or (not again and _is_current(measured.facts(run))):
                continue
            commands.setdefault(tuple(_words(plan, run, folder)), []).append(run)
        if not commands:
            continue
        say(f"Resolving the schedules of {TASKS[task].label}")
        requests, target = folder / f"{task}.json", folder / f"{task}-answers.json"
        requests.write_text(json.dumps([list(words) for words in commands]), encoding="utf-8")
        command = [sys.executable, "-m", TASKS[task].module, SCHEDULES, str(requests), str(target)]
        status, output = processes.run(command, plan.root, environment(plan, slots.threads, None))
        answers = (read_json(target) or {}).get("answers") or []
        if status != 0 or len(answers) != len(commands):
            say(f"The schedules of {TASKS[task].label} could not be resolved: {_reason(output)}")
            continue
        for (_, same), facts in zip(commands.items(), answers, strict=True):
            if "error" in facts:
                say(f"{same[0].key}: its schedule is unknown: {facts['error']}")
                continue
            for run in same:
                measured.keep_facts(run, facts)


def _is_current(found: Any) -> bool:
    return found is not None and found.current


def _trials(
    runs: Sequence[PlannedRun], measured: Measurements, again: bool
) -> dict[str, PlannedRun]:
    """Return one run for each kind of step that is to be measured."""
    found: dict[str, PlannedRun] = {}
    for run in runs:
        if measured.facts(run) is None:
            continue
        if again or not _is_current(measured.trial(run)):
            found.setdefault(measured.trial_name(run), run)
    return found


def _run_trials(
    plan: Plan,
    slots: Slots,
    measured: Measurements,
    trials: Mapping[str, PlannedRun],
    folder: Path,
    processes: _Processes,
    say: Say,
) -> None:
    """Measure each kind of step, as many at a time as runs later share the machine."""
    places: SimpleQueue[str | None] = SimpleQueue()
    for number in range(slots.jobs):
        places.put(slots.gpus[number % len(slots.gpus)] if slots.gpus else None)
    rounds = -(-len(trials) // slots.jobs)
    say(
        f"Measuring {len(trials)} kinds of step ({slots.jobs} at a time), about {rounds * SECONDS_EACH} s; Ctrl-C "
        "keeps what is done, --no-measure leaves it out"
    )

    def work(name: str, run: PlannedRun) -> tuple[PlannedRun, dict[str, Any] | None, str]:
        gpu = places.get()
        try:
            target = folder / f"{name}.json"
            work_dir = folder / name
            command = [sys.executable, "-m", TASKS[run.key.task].module]
            command += [*_words(plan, run, work_dir), "--measure", str(target)]
            variables = environment(plan, slots.threads, gpu)
            status, output = processes.run(command, plan.root, variables)
            return run, read_json(target) if status == 0 else None, output
        finally:
            places.put(gpu)

    pool = ThreadPoolExecutor(slots.jobs)
    try:
        waiting = [pool.submit(work, name, run) for name, run in trials.items()]
        for number, future in enumerate(as_completed(waiting), 1):
            run, trial, output = future.result()
            what = f"[{number}/{len(trials)}] {run.row.backbone} · {TASKS[run.key.task].label}"
            if trial is None:
                say(f"{what}: could not be measured: {_reason(output)}")
                continue
            measured.keep_trial(run, trial)
            say(f"{what}: {1 / trial['seconds_per_image']:.1f} images/s{_origin(run)}")
    finally:
        processes.end()
        pool.shutdown(cancel_futures=True)


def _origin(run: PlannedRun) -> str:
    return "" if uses_real_data(run) else " on generated images"


def _words(plan: Plan, run: PlannedRun, work_dir: Path) -> list[str]:
    """Return the words of a run's command line that decide its cost; weights that do not exist yet are left out."""
    data = run.data.root if uses_real_data(run) else _generated(plan, run)
    _, _, _, *words = task_command(plan, run)
    words = list(_without(words, ("--identity", "--data-fingerprint", "--checkpoint", "--seed")))
    for option, value in (("--data", data), ("--work-dir", work_dir)):
        words[words.index(option) + 1] = str(value)
    if run.key.task == SOURCE and run.needs is not None and "--teacher" not in words:
        words += ["--teacher", os.devnull]
    return words


def _without(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """Leave out options that have a value."""
    skip = False
    for word in words:
        if not skip and word not in options:
            yield word
        skip = not skip and word in options


def _generated(plan: Plan, run: PlannedRun) -> Path:
    """Return generated data of the usual size in the layout of a run's dataset."""
    kind = plan.suite.datasets[run.setup.data].kind
    return miniworld.prepare(_PRESET, plan.root / "data" / "miniworld") / _FOLDERS[kind]


def _reason(output: str) -> str:
    """Return the reason in the output of a failed process."""
    lines = [line for line in output.strip().splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no output"])[-1].removeprefix("error: ")
