"""`list`: print the tricks, backbones, suites, tasks or datasets."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.table import Table

from benchmarks.commands.request import make_console
from benchmarks.suite.load import load_suite, suite_names
from benchmarks.suite.names import ROOT
from contract.errors import UserError
from contract.tasks import TASKS
from datasets.prepare.catalogue import SETS

Lines = Iterator[tuple[str, ...]]


def list_names(options: argparse.Namespace, *, root: Path = ROOT) -> int:
    """Print all names of one kind, each with a short description."""
    if options.what == "backbones":
        return subprocess.run([sys.executable, "-m", "backbones"], cwd=root, check=False).returncode
    headings, lines = _LISTS[options.what]
    table = Table(*headings, box=None, pad_edge=False)
    for line in lines(root):
        table.add_row(*line)
    make_console().print(table)
    return 0


def _tricks(root: Path) -> Lines:
    for task in TASKS.values():
        files = {path.stem: path for folder in task.tricks for path in (root / folder).glob("*.py")}
        for name, path in sorted(files.items()):
            yield task.name, name, _first_line(path)


def _suites(root: Path) -> Lines:
    for name in suite_names():
        try:
            suite = load_suite(name)
        except UserError as error:
            yield name, "", str(error).splitlines()[0]
            continue
        yield name, ", ".join(suite.tasks), suite.title


def _tasks(root: Path) -> Lines:
    for task in TASKS.values():
        scores = ", ".join(metric.name for metric in task.metrics)
        yield task.name, task.label, ", ".join(task.layouts), scores, f"python -m {task.module}"


def _datasets(root: Path) -> Lines:
    yield "miniworld", "", "generated: python -m benchmarks data prepare miniworld"
    for name, entry in SETS.items():
        there = "" if not (root / "data" / entry.folder).is_dir() else "prepared"
        yield name, there, f"data/{entry.folder}: python -m benchmarks data prepare {name}"


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""


_LISTS: Mapping[str, tuple[tuple[str, ...], Callable[[Path], Lines]]] = {
    "tricks": (("task", "trick", "what it does"), _tricks),
    "suites": (("suite", "tasks", "title"), _suites),
    "tasks": (("task", "label", "layouts", "scores", "command"), _tasks),
    "datasets": (("dataset", "", "how to get it"), _datasets),
}
