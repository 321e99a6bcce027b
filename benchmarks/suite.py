"""Suites: what is compared, written down as plain data.

A suite is a Python file that holds data only. One of the user's own needs two lines:

    base = "mini"
    add_rows = [dict(name="mine", backbone="resnet18_d", like="tricks")]

`stages = dict(seg=None)` leaves out what the base has. Relative paths in a built-in suite are
counted from the repository, in a user's suite from the folder of its file.
"""

from __future__ import annotations

import ast
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.suite_schema import (
    DEFAULT_COLUMNS,
    LR_KEYS,
    PUBLISHED,
    SUITE_KEYS,
    check_suite,
    resolve_like,
    safe_name,
)
from contract.errors import UserError, unknown
from datasets.kinds import Kind

ROOT = Path(__file__).resolve().parents[1]

_PLAIN_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.Expr)


@dataclass(frozen=True)
class Row:
    """One line of the table: a backbone and how it is pretrained.

    Args:
        name: Name of the row, and of its folder.
        backbone: Spec that `backbones.create` understands.
        pretrain: False for the control that starts detection and segmentation from random weights.
        recipe: Name of a file of `cls_train/configs/recipes/`.
        tricks: Names of files of `cls_train/configs/tricks/`, in the order of their application.
        teacher: Name of the suite's teacher that the classifier is distilled from.
        det_tricks: Names of files of `det/configs/tricks/`.
        seg_tricks: Names of files of `seg/configs/tricks/`.
        cls_lr: What the learning rate of the classification stage's config is multiplied by.
        det_lr: The same of detection.
        seg_lr: The same of segmentation.
        precision: In place of the command's `--precision`, where precision is what a row is about.
        weights: A hand-off checkpoint to use in place of a classifier trained here.
        published: Whether `weights` is made of what the backbone's library publishes.
        requires: Those of `tricks` that this version may lack; without them the row is shown as not
            available instead of being an error.
        reference: Published figures, in percent, by metric name.
        note: A remark that goes below the table.
        gpu_hours: What training the classifier once is known to take, for the plan.
    """

    name: str
    backbone: str
    pretrain: bool = True
    recipe: str | None = None
    tricks: tuple[str, ...] = ()
    teacher: str | None = None
    det_tricks: tuple[str, ...] = ()
    seg_tricks: tuple[str, ...] = ()
    cls_lr: float = 1.0
    det_lr: float = 1.0
    seg_lr: float = 1.0
    precision: str | None = None
    weights: Path | None = None
    published: bool = False
    requires: tuple[str, ...] = ()
    reference: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    gpu_hours: float | None = None

    @property
    def trains_classifier(self) -> bool:
        """Whether the row has a classification cell of its own."""
        return self.pretrain and self.weights is None

    def tricks_of(self, stage: str) -> tuple[str, ...]:
        """Returns the tricks that the row switches on in a stage."""
        own = {"cls": self.tricks, "det": self.det_tricks, "seg": self.seg_tricks}
        return own.get(stage, ())

    def lr_of(self, stage: str) -> float:
        """Returns the row's factor on the learning rate of a stage's config; 1 where nothing is trained by steps."""
        return {"cls": self.cls_lr, "det": self.det_lr, "seg": self.seg_lr}.get(stage, 1.0)


@dataclass(frozen=True)
class Stage:
    """How a stage is run: its config, the dataset's name, overrides of config keys, and tricks.

    The tricks hold for all rows, and come before those of a row.
    """

    config: str
    data: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    tricks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A folder in one of the real layouts.

    Args:
        kind: Layout, as `datasets` names it.
        path: The folder.
        generate: The miniworld preset that makes the folder where it is missing.
    """

    kind: Kind
    path: Path
    generate: str | None = None


@dataclass(frozen=True)
class Suite:
    """Rows, stages, datasets and seeds of one table.

    Teachers are like rows, but trained once, with the first seed, and classifiers only: the rows
    that name them share them. `columns` are those of the table; `intended` says in what rows differ
    on purpose, and why.
    """

    name: str
    title: str
    description: str
    stages: Mapping[str, Stage]
    datasets: Mapping[str, Dataset]
    smoke_datasets: Mapping[str, Dataset]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    teachers: tuple[Row, ...] = ()
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    intended: Mapping[str, str] = field(default_factory=dict)


def suite_names(folder: Path | None = None) -> list[str]:
    """Returns the names of the built-in suites."""
    folder = folder or ROOT / "benchmarks" / "suites"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def load_suite(name: str) -> Suite:
    """Loads a built-in suite by name, or a suite file by path.

    Args:
        name: `mini`, or the path of a `.py` file.

    Returns:
        The suite, with what it inherits filled in and all paths absolute.

    Raises:
        UserError: The suite does not exist, is not plain data, or holds mistakes; all mistakes are
            listed at once.
    """
    path = find_suite(name)
    raw, problems = _read(path, ())
    problems += check_suite(raw)
    if problems:
        raise UserError(_listed(f"Suite {path} has", problems))
    return _build(path.stem, raw)


def find_suite(name: str, relative_to: Path | None = None) -> Path:
    """Returns the file of a suite.

    Raises:
        UserError: There is no such suite.
    """
    folder = ROOT / "benchmarks" / "suites"
    if name in suite_names():
        return folder / f"{name}.py"
    if not name.endswith(".py"):
        raise unknown("suite", name, suite_names())
    path = ((relative_to or Path.cwd()) / name).resolve()
    if not path.is_file():
        raise UserError(
            f"There is no suite file {path}. Name a file that exists, or one of the built-in "
            f"suites: {', '.join(suite_names())}."
        )
    if path.parent != folder and path.stem in suite_names():
        raise UserError(
            f"The suite file {path} has the name of a built-in suite, and would share its run "
            f"folder runs/{path.stem}. Give the file another name."
        )
    return path


def _read(path: Path, heirs: tuple[Path, ...]) -> tuple[dict[str, Any], list[str]]:
    """Executes a suite file and its bases; returns the merged values and the problems found."""
    if path in heirs:
        chain = " → ".join(str(heir) for heir in (*heirs, path))
        raise UserError(f"The suites inherit from one another in a circle: {chain}.")
    values = _execute(path)
    problems = [
        f"{unknown('key', key, SUITE_KEYS)} (in {path.name})"
        for key in values
        if key not in SUITE_KEYS
    ]
    values = {key: value for key, value in values.items() if key in SUITE_KEYS}
    own_folder = path.parent != ROOT / "benchmarks" / "suites"
    _make_paths_absolute(values, path.parent if own_folder else ROOT)

    base, added = values.pop("base", None), values.pop("add_rows", [])
    if base is not None:
        inherited, base_problems = _read(find_suite(str(base), path.parent), (*heirs, path))
        problems += base_problems
        for key in ("stages", "datasets"):
            if isinstance(values.get(key), dict):
                merged = {**inherited.get(key, {}), **values[key]}
                # None takes out what the base has.
                values[key] = {name: entry for name, entry in merged.items() if entry is not None}
        values = {**inherited, **values}
    if not isinstance(added, list | tuple):
        problems.append("add_rows is not a list of rows")
    elif isinstance(values.get("rows", []), list | tuple):
        values["rows"] = [*values.get("rows", []), *added]
    return values, problems


def _execute(path: Path) -> dict[str, Any]:
    """Runs a suite file in a namespace of its own, once it is known to hold data only."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise UserError(f"The suite file {path}{place} is not valid Python: {error}.") from error
    for statement in tree.body:
        if not isinstance(statement, _PLAIN_STATEMENTS):
            raise UserError(
                f"The suite file {path}, line {statement.lineno}, holds more than data: "
                f"`{ast.unparse(statement).splitlines()[0]}`. A suite assigns values to names and "
                'does nothing else; to inherit from another suite write `base = "mini"`.'
            )
    try:
        values = runpy.run_path(str(path))
    except Exception as error:
        raise UserError(
            f"The suite file {path} cannot be read: {type(error).__name__}: {error}."
        ) from error
    return {key: value for key, value in values.items() if not key.startswith("_")}


def _make_paths_absolute(values: dict[str, Any], folder: Path) -> None:
    """Makes the paths of datasets and weights absolute, in copies of the dicts that hold them."""

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
    """Builds the suite from checked values."""
    datasets, smoke = {}, {}
    for key, entry in raw["datasets"].items():
        datasets[key] = Dataset(entry["kind"], Path(entry["path"]), entry.get("generate"))
        tiny = entry.get("smoke")
        smoke[key] = (
            Dataset(entry["kind"], Path(tiny["path"]), tiny.get("generate"))
            if tiny
            else datasets[key]
        )
    rows: dict[str, dict[str, Any]] = {}
    for entry in raw["rows"]:
        rows[entry["name"]] = resolve_like(entry, rows)
    return Suite(
        name=name,
        title=raw.get("title", name),
        description=raw.get("description", ""),
        stages={
            key: Stage(
                entry["config"],
                entry["data"],
                dict(entry.get("set", {})),
                tuple(entry.get("tricks", ())),
            )
            for key, entry in sorted(raw["stages"].items())
        },
        datasets=datasets,
        smoke_datasets=smoke,
        seeds=tuple(raw.get("seeds", [0])),
        rows=tuple(_build_row(row) for row in rows.values()),
        teachers=tuple(_build_row(row) for row in raw.get("teachers", ())),
        columns=tuple(raw.get("columns", DEFAULT_COLUMNS)),
        intended=dict(raw.get("intended", {})),
    )


def _build_row(resolved: Mapping[str, Any]) -> Row:
    values = dict(resolved)
    tricks = tuple(values.get("tricks", ()))
    values["tricks"] = tricks
    for key in ("det_tricks", "seg_tricks"):
        values[key] = tuple(values.get(key, ()))
    for key in LR_KEYS:
        # 3 and 3.0 are one factor, and so one identity.
        values[key] = float(values.get(key) or 1)
    values["requires"] = tuple(name for name in values.get("requires", ()) if name in tricks)
    if values.get("weights") == PUBLISHED:
        # One place for all suites.
        file = f"{safe_name(values['backbone'])}.safetensors"
        values |= dict(weights=ROOT / "data" / "weights" / file, published=True)
    elif values.get("weights") is not None:
        values["weights"] = Path(values["weights"])
    return Row(**values)


def _listed(opening: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{opening} a mistake: {problems[0]}"
    return "\n".join([f"{opening} {len(problems)} mistakes:", *(f"  - {p}" for p in problems)])
