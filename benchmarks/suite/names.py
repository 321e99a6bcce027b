"""Names in suites: columns of a table, keys of a row, and valid row names."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from contract.tasks import SOURCE, TASKS, Quantity, Task

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / "benchmarks" / "suites"

# Possible intended differences between rows; the suite gives the reason, and the table shows it.
INTENDED = ("protocol", "precision")
# The value of a row's `weights` for the published weights of the backbone's library.
PUBLISHED = "published"
# Dataset layouts.
KINDS = tuple(dict.fromkeys(layout for task in TASKS.values() for layout in task.layouts))

# A row's name must be a valid folder name on every file system and must not look like an option.
_SAFE_NAME = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._+=-]{0,79}")


def is_safe_name(name: str) -> bool:
    """Return whether this name is valid for a row and its folder."""
    return _SAFE_NAME.fullmatch(name) is not None


def safe_name(text: str) -> str:
    """Return `text` with dashes instead of characters that are not allowed in a folder's name."""
    name = re.sub(r"[^A-Za-z0-9._+=-]", "-", text).lstrip("-._=")[:80]
    return name or "row"


def task_keys(task: Task) -> tuple[str, ...]:
    """Return the keys that a row may set for one task: `det=dict(tricks=…, lr=…)`."""
    keys = ["tricks"] if task.tricks else []
    if task.recipes is not None:
        keys += ["recipe", "requires"]
    if task.starts_from is None:
        keys.append("teacher")
    return (*keys, "lr") if task.trains else tuple(keys)


def _flat_keys() -> dict[str, tuple[str, str]]:
    flat = {key: (SOURCE, key) for key in task_keys(TASKS[SOURCE]) if key != "lr"}
    for task in TASKS.values():
        for key in ("tricks", "lr"):
            if key in task_keys(task) and (task.name, key) not in flat.values():
                flat[f"{task.name}_{key}"] = (task.name, key)
    return flat


# The other spelling of what a row sets for single tasks: `det_lr=…` is `det=dict(lr=…)`, and a bare key is the
# classifier's.
FLAT_KEYS = _flat_keys()


# What a table can show, by the name of the column.
COLUMNS: dict[str, Quantity] = {
    name: quantity for task in TASKS.values() for name, quantity in task.columns().items()
}


def default_columns(tasks: Collection[str]) -> tuple[str, ...]:
    """Return the columns of a suite with these tasks that names none."""
    return tuple(
        metric.name
        for task in TASKS.values()
        if task.name in tasks
        for metric in task.metrics
        if metric.by_default
    )


DEFAULT_COLUMNS = default_columns(TASKS)
