"""Where the time of a command went: per run and phase, and of the harness itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.plan.store import RunKey
from contract.files import write_json
from contract.tasks import TASKS
from contract.timing import PHASES, TIMING_FILE, read_timing

# Around the phases that the task itself measures.
WAITING, STARTING, ENDING = "waiting", "start", "end"
COLUMNS = (WAITING, STARTING, *PHASES, ENDING)
# Of the harness.
PLANNING, RUNNING, REPORT = "planning", "runs", "report"


@dataclass
class _Run:
    """Times of one run, in seconds since 1970.

    Attributes:
        ready: When nothing but a place was missing.
        started: When its process was started.
        ended: When its end was noticed.
        folder: Its work dir.
    """

    ready: float
    started: float | None = None
    ended: float | None = None
    folder: Path | None = None


@dataclass
class Times:
    """Collects the times of a command.

    Attributes:
        places: How many runs there may be at a time.
        harness: Seconds of the harness's own phases.
    """

    places: int = 1
    harness: dict[str, float] = field(default_factory=dict)
    _runs: dict[RunKey, _Run] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Spend the seconds of a block in a phase of the harness."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.harness[name] = self.harness.get(name, 0.0) + time.monotonic() - before

    def ready(self, key: RunKey) -> None:
        """Note that only a place is missing; the first note counts."""
        self._runs.setdefault(key, _Run(time.time()))

    def started(self, key: RunKey) -> None:
        """Note the start of a run's process; of a run that starts twice, the last one counts."""
        self._runs.setdefault(key, _Run(time.time())).started = time.time()

    def ended(self, key: RunKey, folder: Path) -> None:
        """Note the end of a run's process."""
        run = self._runs[key]
        run.ended, run.folder = time.time(), folder

    def by_run(self) -> dict[RunKey, dict[str, float]]:
        """Return the seconds of each run that has ended, by column; those without its own measurement have three."""
        return {
            key: _seconds(run)
            for key, run in self._runs.items()
            if run.started is not None and run.ended is not None
        }

    def idle(self) -> float:
        """Return the seconds in which places were free, summed over the places."""
        busy = sum(
            run.ended - run.started
            for run in self._runs.values()
            if run.started is not None and run.ended is not None
        )
        return max(0.0, self.places * self.harness.get(RUNNING, 0.0) - busy)

    def write(self, run_dir: Path) -> None:
        """Write all seconds to `timing.json` in the run folder."""
        document = {
            "harness": {name: round(seconds, 2) for name, seconds in self.harness.items()},
            "places": self.places,
            "idle": round(self.idle(), 2),
            "runs": {
                str(key.path): {name: round(value, 2) for name, value in seconds.items()}
                for key, seconds in self.by_run().items()
            },
        }
        write_json(run_dir / TIMING_FILE, document)

    def show(self, console: Console) -> None:
        """Print the mean seconds of a run by task, the sums, and the harness's own; nothing if no run has ended."""
        runs = self.by_run()
        if not runs:
            return
        table = Table(title="Where the time went: seconds per run", title_justify="left")
        table.add_column("task")
        for name in ("runs", *COLUMNS, "all"):
            table.add_column(name, justify="right")
        for task in TASKS:
            chosen = [seconds for key, seconds in runs.items() if key.task == task]
            if chosen:
                table.add_row(task, *_cells(chosen, len(chosen)))
        table.add_row("sum of all", *_cells(list(runs.values()), 1), end_section=True)
        console.print(table)
        own = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.harness.items())
        console.print(
            f"{own}; {self.places} runs at a time, places free for {self.idle():.1f} s in all. "
            "Start: process and imports. Waiting is not part of a run's time.",
            soft_wrap=True,
        )


def _seconds(run: _Run) -> dict[str, float]:
    assert run.started is not None and run.ended is not None and run.folder is not None
    found = {WAITING: run.started - run.ready}
    timing = read_timing(run.folder)
    # A file of an earlier process tells nothing about this one.
    if timing is None or timing.began < run.started:
        return {**found, "all": run.ended - run.started}
    return {
        **found,
        STARTING: timing.began - run.started,
        **timing.phases,
        ENDING: run.ended - timing.ended,
        "all": run.ended - run.started,
    }


def _cells(runs: Sequence[Mapping[str, float]], divisor: int) -> list[str]:
    """Return the number of runs and the formatted seconds of each column, divided."""

    def cell(name: str) -> str:
        values: list[Any] = [run[name] for run in runs if name in run]
        return f"{sum(values) / divisor:.1f}" if values else "–"

    return [str(len(runs)), *map(cell, (*COLUMNS, "all"))]
