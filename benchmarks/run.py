"""Runs the cells of a plan: as many at a time as the machine takes, each as a process of its own.

A cell that fails is reported, what depends on it is skipped, and all others go on.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Slots
from benchmarks.plan import ADOPT, CACHED, RESUME, Cell, Plan
from benchmarks.progress import Display, format_seconds
from benchmarks.published import curves
from benchmarks.run_folder import CellKey, set_aside, take_over, write_failure
from benchmarks.stage_process import StageProcess, terminate
from benchmarks.timings import Timings
from contract import progress
from contract.files import read_json, write_json

COMPLETED = "completed"
FAILED = "failed"
SKIPPED = "skipped"

_POLL_SECONDS = 0.05

MODULES = {
    "cls": "cls_train.train",
    "probe": "probe",
    "det": "det.train",
    "seg": "seg.train",
}

CommandBuilder = Callable[[Plan, Cell], list[str]]


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Args:
        key: The cell.
        status: CACHED, COMPLETED, FAILED or SKIPPED.
        message: Why it failed or was skipped; empty else.
    """

    key: CellKey
    status: str
    message: str = ""


class Interrupted(BaseException):
    """The run was asked to end, by Ctrl-C or by SIGTERM."""


def stage_command(plan: Plan, cell: Cell) -> list[str]:
    """Returns the command line of a cell, without `--resume`."""
    row, key = cell.row, cell.key
    command = [sys.executable, "-m", MODULES[key.stage], cell.stage.config]
    command += ["--backbone", row.backbone, "--data", str(cell.data.root)]
    command += ["--work-dir", str(plan.folder(cell)), "--seed", str(key.seed)]
    if key.stage == "cls":
        command += ["--recipe", str(row.recipe)]
        if cell.teacher is not None:
            command += ["--teacher", str(cell.teacher)]
    elif cell.checkpoint is not None:
        command += ["--checkpoint", str(cell.checkpoint)]
    for trick in cell.tricks:
        command += ["--trick", trick]
    if cell.lr_factor != 1:
        command += ["--lr-factor", repr(cell.lr_factor)]
    command += ["--budget", plan.selection.budget, "--precision", plan.precision(cell)]
    for name, value in cell.stage.overrides.items():
        command += ["--set", f"{name}={value!r}"]
    command += ["--data-fingerprint", str(cell.data.fingerprint)]
    return [*command, "--identity", str(cell.identity)]


class Runner:
    """Works through a plan.

    Args:
        plan: The plan; states and identities of its cells are filled in as they become known.
        slots: How many cells run at a time, and with what.
        display: Where the run is shown.
        timings: Where the costs of finished cells are kept.
        build_command: Makes a cell's command line.
        fail_fast: End the run at the first failure.
        grace_seconds: Time that stages have to end when the run is interrupted.
    """

    def __init__(
        self,
        plan: Plan,
        slots: Slots,
        display: Display,
        timings: Timings,
        *,
        build_command: CommandBuilder = stage_command,
        fail_fast: bool = False,
        grace_seconds: float = 10.0,
    ) -> None:
        self.outcomes: dict[CellKey, Outcome] = {}
        self._plan = plan
        self._slots = slots
        self._display = display
        self._timings = timings
        self._build_command = build_command
        self._fail_fast = fail_fast
        self._grace_seconds = grace_seconds
        self._running: dict[CellKey, tuple[Cell, StageProcess, str | None]] = {}

    def run(self) -> list[Outcome]:
        """Runs all cells that are not done.

        Returns:
            What became of each cell, in the order of the plan; with `fail_fast`, of those that
            ended.

        Raises:
            Interrupted: Ctrl-C or SIGTERM. The stages have ended by then.
            OSError: The run folder cannot be written, for example because the disk is full.
        """
        self._plan.write()
        pending = []
        for cell in self._plan.cells:
            if cell.state == CACHED:
                self._end_cached(cell)
            else:
                pending.append(cell)
        with _caught_signals() as signals:
            try:
                while pending or self._running:
                    if signals:
                        raise Interrupted
                    pending = [cell for cell in pending if not self._take(cell)]
                    if not self._collect():
                        time.sleep(_POLL_SECONDS)
                    if self._fail_fast and self._failures():
                        break
            finally:
                left = [process for _, process, _ in self._running.values()]
                terminate(left, self._grace_seconds, lambda: len(signals) > 1)
        return [self.outcomes[c.key] for c in self._plan.cells if c.key in self.outcomes]

    def _failures(self) -> bool:
        return any(outcome.status == FAILED for outcome in self.outcomes.values())

    def _take(self, cell: Cell) -> bool:
        """Starts a cell or settles it without a start; returns False if it has to wait."""
        if cell.needs is not None:
            classifier = self.outcomes.get(cell.needs)
            if classifier is None:
                return False
            if classifier.status not in (CACHED, COMPLETED):
                reason = "failed" if classifier.status == FAILED else "was skipped"
                self._settle(cell, SKIPPED, f"skipped: its {cell.source} {reason}")
                return True
        if len(self._running) >= self._slots.jobs:
            return False
        self._plan.decide(cell)
        if any(cell.identity == running.identity for running, _, _ in self._running.values()):
            # An equal cell of another row; what it finds is this one's too.
            return False
        if cell.state == CACHED:
            self._plan.write()
            self._end_cached(cell)
        elif cell.state == ADOPT:
            self._adopt(cell)
        elif cell.data.problem is not None:
            self._settle(cell, FAILED, cell.data.problem)
        else:
            self._start(cell)
        return True

    def _settle(self, cell: Cell, status: str, message: str) -> None:
        """Ends a cell that was never started. An earlier result stays: it may count again later."""
        write_failure(self._plan.folder(cell), None, message)
        self._end(cell, status, message)

    def _adopt(self, cell: Cell) -> None:
        """Ends a cell with what an equal one has found before."""
        plan, source = self._plan, self._plan.finished[str(cell.identity)]
        set_aside(plan.run_dir, cell.key)
        take_over(source, plan.folder(cell))
        taken = cell.reason
        plan.decide(cell)
        plan.write()
        self._end(cell, CACHED, f"{taken}, taken over")

    def _start(self, cell: Cell) -> None:
        plan, folder = self._plan, self._plan.folder(cell)
        command = self._build_command(plan, cell)
        stored = read_json(folder / "cell.json") or {}
        threads = self._slots.threads
        if cell.state == RESUME:
            # As many threads as before, so that sums are taken in the same order.
            threads = stored.get("threads", threads)
            command.append("--resume")
        elif (folder / "cell.json").exists() or (folder / "result.json").exists():
            set_aside(plan.run_dir, cell.key)
        (folder / "failure.json").unlink(missing_ok=True)
        document = {
            "identity": cell.identity,
            "components": cell.components,
            "command": command,
            "threads": threads,
        }
        write_json(folder / "cell.json", document)
        plan.write()
        gpu = self._free_gpu()
        process = StageProcess(
            command,
            log=folder / "stage.log",
            cwd=plan.root,
            environment=_environment(plan.root, threads, gpu),
            on_progress=lambda report: self._tell(cell, report),
        )
        self._running[cell.key] = (cell, process, gpu)
        place = "" if gpu is None else f" on GPU {gpu}"
        verb = "goes on" if cell.state == RESUME else "started"
        self._display.started(cell.key, f"{verb}{place} ({cell.reason})")

    def _tell(self, cell: Cell, report: Mapping[str, Any]) -> None:
        """Shows how far a cell is, and a validation only where it is behind all published ones."""
        if "best" not in report:
            self._display.progressed(cell.key, report)
        elif self._plan.selection.budget == "full" and cell.lr_factor == 1:
            sentence = curves.validation_warning(cell.row.backbone, cell.row.tricks, report)
            if sentence is not None:
                self._display.warned(cell.key, sentence)

    def _free_gpu(self) -> str | None:
        """Returns the GPU with the fewest cells on it."""
        used = [gpu for _, _, gpu in self._running.values()]
        return min(self._slots.gpus, key=used.count, default=None)

    def _collect(self) -> bool:
        """Settles the cells that have ended; returns whether there were any."""
        ended = []
        for key, (_, process, _) in self._running.items():
            status = process.poll()
            if status is not None:
                ended.append((key, status))
        for key, status in ended:
            cell, process, _ = self._running.pop(key)
            self._finish(cell, process, status)
        return bool(ended)

    def _finish(self, cell: Cell, process: StageProcess, status: int) -> None:
        folder = self._plan.folder(cell)
        result = read_json(folder / "result.json")
        took = format_seconds(process.seconds)
        if result is None or result.get("status") != "completed":
            message = failure_message(status, process.tail())
        elif result.get("identity") != cell.identity:
            message = "the stage wrote a result.json of another identity than it was given"
        else:
            # The result is written last, so that it counts whatever happened on the way out.
            late = f" (exit status {status} after its result)" if status else ""
            cell.state = CACHED
            self._plan.finished[str(cell.identity)] = folder
            self._timings.record(cell, self._plan.selection.budget, result, process.seconds)
            self._end(cell, COMPLETED, "", f"done in {took}{_headline(result)}{late}")
            return
        write_failure(folder, status, message, process.tail())
        self._end(cell, FAILED, message, f"failed after {took}: {message}")

    def _end_cached(self, cell: Cell) -> None:
        (self._plan.folder(cell) / "failure.json").unlink(missing_ok=True)
        self._end(cell, CACHED, f"done before, identity {str(cell.identity)[:8]}")

    def _end(self, cell: Cell, status: str, message: str, text: str | None = None) -> None:
        good = status in (CACHED, COMPLETED)
        self.outcomes[cell.key] = Outcome(cell.key, status, "" if good else message)
        shown = text or (f"failed: {message}" if status == FAILED else message)
        self._display.ended(cell.key, shown, good=good)


def failure_message(status: int, tail: Sequence[str]) -> str:
    """Puts into a sentence why a stage failed.

    Args:
        status: Its exit status.
        tail: The last lines of its output.
    """
    text = "\n".join(tail)
    if status == 2 and (found := re.search(r"(?:^|\n)error: ((?:(?!\nerror: ).)*)\Z", text, re.S)):
        return found.group(1).strip()
    if status == 0:
        return "the stage ended without a complete result.json"
    if status == 128 + signal.SIGKILL:
        return (
            "the stage was killed (signal 9). If nobody did so, memory ran out: use --jobs 1, or a "
            "smaller batch with --set"
        )
    if status > 128:
        return f"the stage was ended by signal {status - 128}"
    raised = [line for line in tail if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    last = next(
        (line.strip() for line in reversed(raised or list(tail)) if line.strip()), "no output"
    )
    return f"the stage failed with exit status {status}: {last}"


def _headline(result: Mapping[str, Any]) -> str:
    """Returns the first metrics of a result, as `: top1 71.2, top5 90.1`."""
    metrics = [
        f"{metric['name']} {metric['value']:.1f}"
        for metric in result.get("metrics", [])
        if isinstance(metric, dict) and isinstance(metric.get("value"), int | float)
    ]
    return f": {', '.join(metrics)}" if metrics else ""


# How often a waiting thread of libgomp looks before it sleeps. Without a bound threads that share a core wait for each
# other in full time slices: with two busy processes beside it a small network's step took 12 times as long as alone,
# with this bound 2.3 times, and alone no longer than without (docs/LOG.md).
SPIN_COUNT = "20000"


def _environment(root: Path, threads: int, gpu: str | None) -> dict[str, str]:
    variables = {
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", SPIN_COUNT),
        progress.VARIABLE: "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    return variables if gpu is None else {**variables, "CUDA_VISIBLE_DEVICES": gpu}


@contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list, for the run to end in order.

    Both handlers are set explicitly, because a shell starts background jobs with SIGINT ignored.
    """
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
