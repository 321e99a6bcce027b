"""Read a run folder: the plan, and what became of every cell.

A run folder holds `plan.json` (what is wanted) and a work dir for each cell (what happened). A cell
counts as completed only where its result is that of the plan; every other keeps its state and its
reason, so that the table can show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.plan.document import PLAN_AGAIN, RowEntry, RunEntry, read_plan
from benchmarks.plan.store import run_file
from benchmarks.result_file import (
    RUN_AGAIN,
    Metric,
    Receipt,
    Result,
    open_document,
    read_result,
)
from contract.errors import UserError

__all__ = [
    "Cell",
    "Curves",
    "Metric",
    "Receipt",
    "Result",
    "Row",
    "Run",
    "metric_values",
    "read_curves",
    "read_result",
    "read_run",
]

MAIN_METRIC = {"cls": "top1", "probe": "linear_top1", "det": "map", "seg": "miou"}
REPLACED = "`python -m benchmarks run` replaces it"


@dataclass(frozen=True)
class Row:
    """One row of the table, as the plan describes it.

    Attributes:
        departures: What single stages do otherwise than their configs, such as `det: frozen_backbone, lr × 0.3`.
    """

    name: str
    backbone: str
    recipe: str | None
    tricks: tuple[str, ...]
    pretrain: bool
    reference: Mapping[str, float]
    note: str | None
    unavailable: str | None
    parameters: int | None
    teacher: str | None = None
    departures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One row × stage × seed and what became of it.

    Attributes:
        row: Name of the row.
        stage: `cls`, `probe`, `det` or `seg`.
        seed: Random seed.
        folder: The cell's work dir.
        state: `completed`, `failed`, `stale` (a result of another plan lies there) or `missing`.
        result: The result where `state` is `completed`, else None.
        message: Why there is no number; empty where there is one.
        log_tail: Last lines of the log of a failed cell.
        command: The command line that made it, where `cell.json` has it.
        identity: The planned identity; None where it hangs on a checkpoint that does not exist yet.
        needs: Folder of the classification cell that makes what it starts from, or its teacher.
    """

    row: str
    stage: str
    seed: int
    folder: Path
    state: str
    result: Result | None
    message: str
    log_tail: tuple[str, ...]
    command: tuple[str, ...]
    identity: str | None
    needs: Path | None


@dataclass(frozen=True)
class Run:
    """A run folder: the plan and the state of every cell.

    Attributes:
        columns: Names of the table's metric columns.
        intended: In what the rows differ on purpose, and why.
        teachers: What the cells are of that are no row's, trained once for rows that name them.
    """

    folder: Path
    suite: str
    title: str
    description: str
    budget: str
    seeds: tuple[int, ...]
    stages: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    columns: tuple[str, ...]
    intended: Mapping[str, str]
    teachers: tuple[Row, ...]

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """The results of all completed cells, in the order of the plan."""
        return tuple(cell.result for cell in self.cells if cell.result is not None)

    def of(self, row: str, stage: str) -> tuple[Cell, ...]:
        """Return the cells of one row and stage, ordered by seed."""
        found = [cell for cell in self.cells if cell.row == row and cell.stage == stage]
        return tuple(sorted(found, key=lambda cell: cell.seed))


def metric_values(cells: Iterable[Cell], name: str) -> dict[int, float]:
    """Return the values of one metric by seed; seeds without it are left out."""
    values = {}
    for cell in cells:
        metric = cell.result.metric(name) if cell.result else None
        if metric is not None:
            values[cell.seed] = metric.value
    return values


@dataclass(frozen=True)
class Curves:
    """Learning curves of one cell; each point is `(epoch, value)`.

    Attributes:
        loss: Training loss.
        metric: The stage's main validation metric, in percent.
    """

    loss: tuple[tuple[float, float], ...]
    metric: tuple[tuple[float, float], ...]


def read_run(run_dir: Path) -> Run:
    """Read the plan of a run folder and the state of each of its cells.

    Args:
        run_dir: The folder that holds `plan.json`.

    Returns:
        The run; every planned cell is in it, whatever became of it.

    Raises:
        UserError: There is no readable plan, a result cannot be read, or a result that claims to be
            the plan's is of another budget, stage or seed.
    """
    plan = read_plan(run_dir)
    rows = tuple(_read_row(entry) for entry in plan.rows)
    teachers = tuple(_read_row(entry) for entry in plan.teachers)
    cells = tuple(_read_cell(entry, run_dir, plan.budget) for entry in plan.runs)
    return Run(
        folder=run_dir,
        suite=plan.suite,
        title=plan.title,
        description=plan.description,
        budget=plan.budget,
        seeds=plan.seeds,
        stages={name: entry.model_dump() for name, entry in plan.tasks.items()},
        rows=rows,
        cells=_mark_orphans(cells),
        columns=plan.columns,
        intended=plan.intended,
        teachers=teachers,
    )


def _read_row(entry: RowEntry) -> Row:
    """Read one row of the plan."""
    return Row(
        name=entry.name,
        backbone=entry.backbone,
        recipe=entry.recipe,
        tricks=entry.tricks,
        pretrain=entry.pretrain,
        reference=entry.reference,
        note=entry.note,
        unavailable=entry.unavailable,
        parameters=entry.parameters,
        teacher=entry.teacher,
        departures=entry.overrides,
    )


def _read_cell(entry: RunEntry, run_dir: Path, budget: str) -> Cell:
    """Read one run of the plan and find its state.

    A result that is the plan's wins over a `failure.json` left by an earlier attempt; a failure
    wins over a result that is not the plan's.
    """
    folder = run_dir / entry.path
    cell = Cell(
        row=entry.row,
        stage=entry.task,
        seed=entry.seed,
        folder=folder,
        state="missing",
        result=None,
        message="not run yet",
        log_tail=(),
        command=_read_command(folder),
        identity=entry.identity,
        needs=None if entry.needs is None else run_dir / entry.needs,
    )
    stale = None
    if (folder / "result.json").exists():
        result = read_result(folder / "result.json")
        stale = _why_stale(cell, result, budget)
        if stale is None:
            return replace(cell, state="completed", result=result, message="")
    if (folder / "failure.json").exists():
        failure = open_document(folder / "failure.json", PLAN_AGAIN)
        return replace(
            cell,
            state="failed",
            message=failure.get("message", str),
            log_tail=tuple(str(line) for line in failure.get("log_tail", list)),
        )
    if stale is not None:
        return replace(cell, state="stale", message=stale)
    return cell


def _why_stale(cell: Cell, result: Result, budget: str) -> str | None:
    """Say why a result is not the plan's, or None where it is.

    Raises:
        UserError: The result claims to be the plan's and contradicts it.
    """
    if cell.identity is None and result.budget != budget:
        return f"a result of budget '{result.budget}' lies here; {REPLACED}"
    if cell.identity is not None and result.identity != cell.identity:
        return f"a result of other settings lies here; {REPLACED}"
    if (result.stage, result.seed) != (cell.stage, cell.seed):
        raise UserError(
            f"{result.path} is of stage {result.stage}, seed {result.seed}; the plan has stage "
            f"{cell.stage}, seed {cell.seed} there. {RUN_AGAIN}"
        )
    if result.budget != budget:
        raise UserError(
            f"{result.path} was made with budget '{result.budget}', the plan has '{budget}', and "
            f"rows of different budgets never share a table. {RUN_AGAIN}"
        )
    return None


def _mark_orphans(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Mark as stale each result whose classifier or teacher is not the plan's.

    The plan cannot know the identity of a cell before what it starts from exists. So where that
    identity is null and the cell that it needs is not completed, a result there was made from other
    weights.
    """
    states = {cell.folder: cell.state for cell in cells}
    marked = []
    for cell in cells:
        source = "completed" if cell.needs is None else states.get(cell.needs, "missing")
        if cell.result and cell.identity is None and source != "completed":
            needed = "teacher" if cell.stage == "cls" else "classifier"
            message = f"its {needed} is {source}, so this result is of other weights"
            cell = replace(cell, state="stale", result=None, message=message)
        marked.append(cell)
    return tuple(marked)


def _read_command(folder: Path) -> tuple[str, ...]:
    """Return the command line of a run; empty where it never started."""
    return tuple(str(word) for word in run_file(folder).get("command") or ())


def read_curves(result: Result) -> Curves:
    """Read the learning curves beside a result; empty where it has none.

    Args:
        result: A completed result.

    Returns:
        The points that have both an epoch and a finite value.

    Raises:
        UserError: The file is there and cannot be parsed.
    """
    path = result.path.parent / str(result.artifacts.get("curves") or "curves.json")
    if not path.exists():
        return Curves((), ())
    document = open_document(path, PLAN_AGAIN)
    return Curves(
        _points(document.get("train", list), "loss"),
        _points(document.get("val", list), MAIN_METRIC[result.stage]),
    )


def _points(entries: list[Any], key: str) -> tuple[tuple[float, float], ...]:
    """Return `(epoch, value)` of each entry that has both."""
    found = []
    for entry in entries:
        epoch, value = entry.get("epoch"), entry.get(key)
        if epoch is not None and value is not None and math.isfinite(value):
            found.append((float(epoch), float(value)))
    return tuple(found)
