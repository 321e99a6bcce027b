"""`python -m benchmarks doctor`: what this machine and its packages offer."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.machine import choose_slots, visible_gpus
from benchmarks.setup_environment import read_requirements, unmet
from benchmarks.suite import Dataset, load_suite, suite_names

SPARE_DISK_GIB = 5

Finding = tuple[str, str, bool]


def examine(console: Console, root: Path) -> int:
    """Prints what was found.

    Args:
        console: Where to print.
        root: The repository.

    Returns:
        0 if suites can run here, else 1.
    """
    findings = [*_python(root), *_machine(root), *_data(), *_stages(root)]
    table = Table("what", "found", "", box=None, pad_edge=False)
    for what, found, good in findings:
        table.add_row(what, escape(found), "ok" if good else "[bold red]mend this[/]")
    console.print(table)
    return 0 if all(good for _, _, good in findings) else 1


def _python(root: Path) -> Iterator[Finding]:
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    yield "Python", f"{platform.python_version()} ({sys.executable})", supported
    problems = unmet(read_requirements(root / "pyproject.toml"))
    text = "as pyproject.toml asks" if not problems else "; ".join(problems)
    yield "packages", text, not problems


def _machine(root: Path) -> Iterator[Finding]:
    slots = choose_slots(None)
    yield "processor", f"{platform.machine()}, {slots.reason}", True
    gpus = visible_gpus()
    yield "GPUs", f"{len(gpus)} ({', '.join(gpus)})" if gpus else "none; the CPU is used", True
    yield "cells at a time", f"{slots.jobs}, {slots.threads} threads each", True
    free = shutil.disk_usage(root).free / 1024**3
    yield "free disk", f"{free:.0f} GiB (wanted: {SPARE_DISK_GIB})", free >= SPARE_DISK_GIB


def _data() -> Iterator[Finding]:
    for name in suite_names():
        for dataset in load_suite(name).datasets.values():
            yield f"data of {name}", _describe_data(dataset), True


def _describe_data(dataset: Dataset) -> str:
    if dataset.path.is_dir():
        return f"{dataset.path} is there"
    if dataset.generate:
        return f"{dataset.path} will be generated"
    return f"{dataset.path} is not there; only this suite's full runs need it"


def _stages(root: Path) -> Iterator[Finding]:
    """Asks the stages' own code, which the harness does not import, what it found."""
    if not (root / "engine" / "doctor.py").is_file():
        return
    command = [sys.executable, "-m", "engine.doctor", "--json"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        yield "stages", f"`python -m engine.doctor` failed: {last}", False
        return
    for key, value in json.loads(answer.stdout).items():
        yield key.replace("_", " "), str(value), True
