"""`status`: show where the runs of a folder stand, whichever machines train them."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.cluster.jobs import Jobs
from benchmarks.commands.request import make_console
from benchmarks.results.status import (
    DONE,
    FAILED,
    NEW,
    STATES,
    WAITING,
    FolderStatus,
    RunStatus,
    read_status,
)
from benchmarks.run.display import describe_progress, format_seconds

# Of longer lists, runs without news are only counted.
_MOST_ROWS = 40


def status(options: argparse.Namespace) -> int:
    """Print where the runs of a folder stand.

    Returns:
        The exit status: 0 if all runs are done, else 1.
    """
    console = make_console()
    while True:
        found = _read(options.run_dir)
        if options.json:
            print(json.dumps(as_json(found), indent=1, ensure_ascii=False))
        else:
            if options.watch and console.is_terminal:
                console.clear()
            _print(console, found)
        if not options.watch or all(run.is_settled for run in found.runs):
            return 0 if found.count(DONE) == len(found.runs) else 1
        time.sleep(options.watch)


def _read(run_dir: Path) -> FolderStatus:
    alive = Jobs(run_dir).alive()
    return read_status(run_dir, alive.jobs, is_certain=not alive.problem)


def as_json(found: FolderStatus) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "suite": found.plan.suite,
        "budget": found.plan.budget,
        "counts": {state: found.count(state) for state in STATES},
        "seconds_left": found.seconds_left(),
        "runs": [
            {
                "row": run.key.row,
                "task": run.key.task,
                "seed": run.key.seed,
                "state": run.state,
                "note": run.note,
                "owner": run.owner,
                "job": run.job,
                "gpu": run.gpu,
                "report": run.report,
                "heartbeat_seconds": run.heartbeat,
                "wall_seconds": run.seconds,
                "log": None if run.log is None else str(run.log),
            }
            for run in found.runs
        ],
    }


def _print(console: Console, found: FolderStatus) -> None:
    runs = list(found.runs)
    if len(runs) > _MOST_ROWS:
        runs = [run for run in runs if run.state not in (DONE, WAITING, NEW)]
    table = Table("run", "state", "where", "progress", box=None, pad_edge=False)
    for run in runs:
        if run.state != FAILED:
            table.add_row(*map(escape, (str(run.key), run.state, _where(run), _progress(run))))
    if table.row_count:
        console.print(table)
    for run in runs:
        if run.state == FAILED:
            log = "" if run.log is None else f" Log: {run.log}"
            console.print(escape(f"FAILED {run.key}: {run.note}{log}"), soft_wrap=True)
    counts = ", ".join(f"{found.count(state)} {state}" for state in STATES if found.count(state))
    left = found.seconds_left()
    time_left = "" if left is None else f"; about {format_seconds(left)} left at this rate"
    console.print(
        f"Suite {found.plan.suite}, budget {found.plan.budget}: {len(found.runs)} runs: {counts}{time_left}.",
        soft_wrap=True,
    )


def _where(run: RunStatus) -> str:
    gpu = "" if run.gpu is None else f", GPU {run.gpu}"
    return f"{run.owner}{gpu}" if run.owner else f"Slurm job {run.job}" if run.job else ""


def _progress(run: RunStatus) -> str:
    parts = [describe_progress(run.report)] if run.report else []
    if run.heartbeat is not None:
        parts.append(f"heartbeat {format_seconds(run.heartbeat)} ago")
    if run.seconds is not None:
        parts.append(format_seconds(run.seconds))
    return ", ".join([*parts, *([run.note] if run.note else [])])
