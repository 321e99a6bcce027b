"""Writes a suite file that inherits from another and names its rows anew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from pprint import pformat
from typing import Any

from benchmarks.suite import ROOT, Row, Suite
from benchmarks.suite_schema import PUBLISHED

WIDTH = 100


def suite_text(
    suite: Suite, base: Suite, base_file: Path, folder: Path, *, head: str, rows: Iterable[Row]
) -> str:
    """The text of a suite file that `load_suite` reads as `base` with other rows.

    Args:
        suite: `base` as a command selected it; what it changed in stages and datasets is written down.
        base: The suite that is inherited from.
        base_file: Its file.
        folder: Where the file is to lie.
        head: Its docstring.
        rows: Its rows, whole: none is `like` another.
    """
    values: dict[str, Any] = {"base": _base_name(base_file, folder)}
    values |= {"title": suite.title, "description": suite.description}
    stages = {
        name: {
            "config": stage.config,
            "data": stage.data,
            "set": dict(stage.overrides),
            "tricks": list(stage.tricks),
        }
        for name, stage in suite.stages.items()
        if stage != base.stages[name]
    }
    datasets = {
        stage.data: {
            "kind": suite.datasets[stage.data].kind,
            "path": str(suite.datasets[stage.data].path),
        }
        for stage in suite.stages.values()
        if stage.data not in base.datasets
    }
    values |= {key: entry for key, entry in (("stages", stages), ("datasets", datasets)) if entry}
    values["rows"] = [row_entry(row) for row in rows]
    lines = [f"{key} = {_pretty(value)}" for key, value in values.items()]
    return f'"""{head}"""\n\n' + "\n".join(lines) + "\n"


def row_entry(row: Row) -> dict[str, Any]:
    """A row as a suite file states it: what differs from the default of each key."""
    entry: dict[str, Any] = {}
    for field in fields(Row):
        value = getattr(row, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name == "published" or value == default:
            continue
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, Path):
            value = PUBLISHED if row.published else str(value)
        entry[field.name] = value
    return entry


def _base_name(file: Path, folder: Path) -> str:
    """How a file in `folder` names a suite: a built-in one by name, another by its path from there."""
    if file.parent == ROOT / "benchmarks" / "suites":
        return file.stem
    return Path(os.path.relpath(file, folder)).as_posix()


def _pretty(value: Any) -> str:
    return pformat(value, width=WIDTH, sort_dicts=False)
