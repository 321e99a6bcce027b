"""Write a suite file that inherits from another suite and replaces its rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from pprint import pformat
from typing import Any

from benchmarks.suite.model import Row, Suite, TaskOptions
from benchmarks.suite.names import FLAT_KEYS, PUBLISHED, SUITES
from contract.tasks import SOURCE

_WIDTH = 100
# Fields that `load_suite` derives.
_DERIVED = ("tasks", "published", "added")


def suite_text(
    suite: Suite, base: Suite, base_file: Path, folder: Path, *, head: str, rows: Iterable[Row]
) -> str:
    """Return the text of a suite file that `load_suite` reads as `base` with other rows.

    Args:
        suite: `base` with the changes of a command; changed tasks and datasets are written.
        base: The base suite.
        base_file: Its file.
        folder: The folder of the new file.
        head: Its docstring.
        rows: Its rows, written in full without `like`.
    """
    values: dict[str, Any] = {"base": _base_name(base_file, folder)}
    values |= {"title": suite.title, "description": suite.description}
    tasks = {
        name: {
            "config": setup.config,
            "data": setup.data,
            "set": dict(setup.overrides),
            "tricks": list(setup.tricks),
        }
        for name, setup in suite.tasks.items()
        if setup != base.tasks[name]
    }
    datasets = {
        name: {"kind": dataset.kind, "path": str(dataset.path)}
        for name, dataset in suite.used_datasets.items()
        if name not in base.datasets
    }
    values |= {key: entry for key, entry in (("tasks", tasks), ("datasets", datasets)) if entry}
    values["rows"] = [row_entry(row) for row in rows]
    lines = [f"{key} = {_pretty(value)}" for key, value in values.items()]
    return f'"""{head}"""\n\n' + "\n".join(lines) + "\n"


def row_entry(row: Row) -> dict[str, Any]:
    """Return a row in the format of a suite file: the keys with values other than the default."""
    entry = _differences(row, Row(name="", backbone=""))
    for name in _DERIVED:
        entry.pop(name, None)
    if "weights" in entry:
        entry["weights"] = PUBLISHED if row.published else str(row.weights)
    flat = {place: key for key, place in FLAT_KEYS.items()}
    for task, options in row.tasks.items():
        written = _differences(options, TaskOptions())
        if task == SOURCE:
            entry |= {flat[task, option]: value for option, value in written.items()}
        else:
            entry[task] = written
    return entry


def _differences(record: Row | TaskOptions, default: Row | TaskOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in type(record).model_fields:
        value = getattr(record, name)
        if value == getattr(default, name):
            continue
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        found[name] = value
    return found


def _base_name(file: Path, folder: Path) -> str:
    """Return the name of a suite in a file in `folder`: a built-in suite by name, others by relative path."""
    if file.parent == SUITES:
        return file.stem
    return Path(os.path.relpath(file, folder)).as_posix()


def _pretty(value: Any) -> str:
    return pformat(value, width=_WIDTH, sort_dicts=False)
