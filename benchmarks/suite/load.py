"""Load suites, which are plain data.

A suite is a Python file with data only; it is evaluated and never executed. A user's suite needs two lines:

    base = "mini"
    add_rows = [dict(name="mine", backbone="resnet18_d", like="tricks")]

`tasks = dict(seg=None)` removes a task of the base. Relative paths start at the repository in a built-in suite, and
at the folder of its file in a user's suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.suite import names
from benchmarks.suite.check import SUITE_KEYS, check_suite, resolve_like
from benchmarks.suite.evaluate import evaluate_file
from benchmarks.suite.model import (
    Dataset,
    Head,
    Row,
    SmokeFolder,
    Suite,
    TaskOptions,
    TaskSetup,
    WrittenDataset,
)
from benchmarks.suite.names import PUBLISHED, ROOT, default_columns, safe_name
from contract.errors import UserError, numbered_problems, unknown
from contract.tasks import SOURCE, TASKS

# `runs/store` contains finished work.
_TAKEN = "store"


def suite_names() -> list[str]:
    """Return the names of the built-in suites."""
    return sorted(path.stem for path in names.SUITES.glob("*.py") if path.stem[0] != "_")


def load_suite(name: str) -> Suite:
    """Load a built-in suite by name, or a suite file by path.

    Args:
        name: `mini`, or the path of a `.py` file.

    Returns:
        The suite with inherited values and absolute paths.

    Raises:
        UserError: The suite does not exist, is not plain data, or contains mistakes; the message lists all of them.
    """
    path = find_suite(name)
    raw, problems = _read(path, ())
    problems += check_suite(raw)
    if problems:
        raise numbered_problems(f"Suite {path} has", problems)
    return _build(path.stem, raw)


def find_suite(name: str, relative_to: Path | None = None) -> Path:
    """Return the file of a suite.

    Raises:
        UserError: There is no such suite.
    """
    if name in suite_names():
        return names.SUITES / f"{name}.py"
    if not name.endswith(".py"):
        raise unknown("suite", name, suite_names())
    path = ((relative_to or Path.cwd()) / name).resolve()
    if not path.is_file():
        raise UserError(
            f"There is no suite file {path}. Name a file that exists, or one of the built-in "
            f"suites: {', '.join(suite_names())}."
        )
    if path.parent != names.SUITES and path.stem in suite_names():
        raise UserError(
            f"The suite file {path} has the name of a built-in suite, and would share its run "
            f"folder runs/{path.stem}. Give the file another name."
        )
    if path.stem == _TAKEN:
        raise UserError(
            f"The suite file {path} would use runs/{_TAKEN}, where finished runs are kept. Give the file another name."
        )
    return path


def build_row(written: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> Row:
    """Build a row from checked values, in either spelling.

    Args:
        written: The row's keys.
        earlier: Resolved rows by name, for `like`.
    """
    return _resolved_row(resolve_like(written, earlier or {}))


def _read(path: Path, heirs: tuple[Path, ...]) -> tuple[dict[str, Any], list[str]]:
    """Evaluate a suite file and its bases; return the merged values and the problems found."""
    if path in heirs:
        chain = " → ".join(str(heir) for heir in (*heirs, path))
        raise UserError(f"The suites inherit from one another in a circle: {chain}.")
    values = evaluate_file(path)
    problems = [
        f"{unknown('key', key, SUITE_KEYS)} (in {path.name})"
        for key in values
        if key not in SUITE_KEYS
    ]
    values = {key: value for key, value in values.items() if key in SUITE_KEYS}
    if "stages" in values:
        if "tasks" in values:
            problems.append(f"give either tasks or stages, not both (in {path.name}).")
        values.setdefault("tasks", values.pop("stages"))
    _make_paths_absolute(values, ROOT if path.parent == names.SUITES else path.parent)

    base, added = values.pop("base", None), values.pop("add_rows", [])
    if base is not None:
        inherited, base_problems = _read(find_suite(str(base), path.parent), (*heirs, path))
        problems += base_problems
        for key in ("tasks", "datasets"):
            if isinstance(values.get(key), dict):
                merged = {**inherited.get(key, {}), **values[key]}
                # None removes an entry of the base.
                values[key] = {name: entry for name, entry in merged.items() if entry is not None}
        values = {**inherited, **values}
    if not isinstance(added, list | tuple):
        problems.append("add_rows is not a list of rows")
    elif isinstance(values.get("rows", []), list | tuple):
        values["rows"] = [*values.get("rows", []), *added]
    return values, problems


def _make_paths_absolute(values: dict[str, Any], folder: Path) -> None:
    """Make the paths of datasets and weights absolute, in copies of their dicts."""

    def absolute(entry: Any, key: str) -> Any:
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            return entry
        if key == "weights" and entry[key] == PUBLISHED:
            return entry
        return {**entry, key: str((folder / Path(entry[key]).expanduser()).resolve())}

    if isinstance(values.get("datasets"), dict):
        datasets = {name: absolute(entry, "path") for name, entry in values["datasets"].items()}
        for entry in datasets.values():
            if isinstance(entry, dict) and "smoke" in entry:
                entry["smoke"] = absolute(entry["smoke"], "path")
        values["datasets"] = datasets
    for key in ("rows", "add_rows", "teachers"):
        if isinstance(values.get(key), list | tuple):
            values[key] = [absolute(row, "weights") for row in values[key]]


def _build(name: str, raw: Mapping[str, Any]) -> Suite:
    """Build the suite from checked values."""
    datasets, smoke = {}, {}
    for key, entry in raw["datasets"].items():
        written = WrittenDataset.model_validate(entry)
        datasets[key] = _dataset(written.kind, written)
        smoke[key] = _dataset(written.kind, written.smoke or written)
    rows: dict[str, dict[str, Any]] = {}
    for entry in raw["rows"]:
        rows[entry["name"]] = resolve_like(entry, rows)
    head = Head.model_validate({key: raw[key] for key in Head.model_fields if key in raw})
    return Suite(
        name=name,
        title=raw.get("title", name),
        description=head.description,
        tasks={
            task: TaskSetup.model_validate(raw["tasks"][task])
            for task in TASKS
            if task in raw["tasks"]
        },
        datasets=datasets,
        smoke_datasets=smoke,
        seeds=head.seeds,
        rows=tuple(_resolved_row(row) for row in rows.values()),
        teachers=tuple(build_row(row) for row in raw.get("teachers", ())),
        columns=head.columns if "columns" in raw else default_columns(raw["tasks"]),
        intended=head.intended,
    )


def _dataset(kind: str, folder: WrittenDataset | SmokeFolder) -> Dataset:
    values = {"kind": kind, "path": Path(folder.path), "generate": folder.generate}
    return Dataset.model_validate(values)


def _resolved_row(resolved: Mapping[str, Any]) -> Row:
    values = {**resolved, "tasks": {}}
    for task, options in resolved["tasks"].items():
        built = TaskOptions.model_validate(options)
        requires = tuple(name for name in built.requires if name in built.tricks)
        built = built.model_copy(update={"requires": requires})
        if built != TaskOptions():
            values["tasks"][task] = built
    if values.get("weights") == PUBLISHED:
        # One place for all suites.
        file = f"{safe_name(values['backbone'])}.safetensors"
        values |= {"weights": ROOT / "data" / "weights" / file, "published": True}
    elif values.get("weights") is not None:
        values["weights"] = Path(values["weights"])
    return Row.model_validate(values)


def missing_tricks(row: Row, tricks: Mapping[str, Any] | list[str] | tuple[str, ...]) -> list[str]:
    """Return the tricks that a row declares as optional and that this version does not have."""
    return [name for name in row.of(SOURCE).requires if name not in tricks]
