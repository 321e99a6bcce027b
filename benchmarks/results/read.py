"""Read a run folder: the plan and the state of every run.

A run folder contains `plan.json` and a work dir for each run. A run is completed only if its result has the planned
settings; the table shows the state and reason of all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.plan.document import (
    PLAN_AGAIN,
    PlanDocument,
    RowEntry,
    RunEntry,
    TaskEntry,
    read_plan,
)
from benchmarks.plan.store import FAILURE_FILE, run_file
from contract.errors import UserError
from contract.models import Model, read_model
from contract.result import (
    CURVES_FILE,
    RESULT_FILE,
    RUN_AGAIN,
    Metric,
    Result,
    read_result,
)
from contract.tasks import TASKS

COMPLETED, FAILED, STALE, MISSING = "completed", "failed", "stale", "missing"
_REPLACED = "`python -m benchmarks run` replaces it"


class _Failure(Model):
    message: str
    log_tail: tuple[Any, ...] = ()


class _CurvesFile(Model):
    train: tuple[Mapping[str, Any], ...]
    val: tuple[Mapping[str, Any], ...]


class _Evaluation(Model):
    classes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Curves:
    """Learning curves of one run; each point is `(epoch, value)`.

    Attributes:
        loss: Training loss.
        metric: The task's main metric in validation, in percent.
    """

    loss: tuple[tuple[float, float], ...] = ()
    metric: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """One row × task × seed with its state and result.

    Attributes:
        row: Name of the row.
        task: Name of the task.
        seed: Random seed.
        folder: The run's work dir.
        state: `completed`, `failed`, `stale` (the result has other settings) or `missing`.
        result: The result if `state` is `completed`, else None.
        message: Why there is no result; empty if there is one.
        log_tail: Last lines of the log of a failed run.
        command: Its command line; empty if it never started.
        identity: The planned identity; None if it depends on a checkpoint that does not exist yet.
        needs: Work dir of the run that writes its initial checkpoint or its teacher's.
    """

    row: str
    task: str
    seed: int
    folder: Path
    state: str
    result: Result | None
    message: str
    log_tail: tuple[str, ...]
    command: tuple[str, ...]
    identity: str | None
    needs: Path | None

    @property
    def name(self) -> str:
        """Row, task and seed, for messages."""
        return f"{self.row} · {self.task} · seed {self.seed}"

    @cached_property
    def numbers(self) -> Mapping[str, Metric]:
        """Scores, costs and estimates by column; empty without a result."""
        return {} if self.result is None else self.result.columns()

    @cached_property
    def curves(self) -> Curves:
        """The learning curves beside the result, cached; empty if there are none.

        Raises:
            UserError: The file cannot be parsed.
        """
        return Curves() if self.result is None else _read_curves(self.folder, self.result)

    @cached_property
    def classes(self) -> Mapping[str, Mapping[str, Any]]:
        """The per-class evaluation, cached; empty if there is none.

        Raises:
            UserError: The file cannot be parsed.
        """
        name = None if self.result is None else self.result.artifacts.get("evaluation")
        path = self.folder / str(name)
        return read_model(path, _Evaluation, RUN_AGAIN).classes if name and path.exists() else {}


@dataclass(frozen=True)
class RunFolder:
    """A run folder: the plan and the record of every run.

    Attributes:
        folder: Its path.
        plan: The plan.
        runs: Every planned run, in the order of the plan.
    """

    folder: Path
    plan: PlanDocument
    runs: tuple[RunRecord, ...]

    @property
    def budget(self) -> str:
        """`full`, `short` or `smoke`."""
        return self.plan.budget

    @property
    def seeds(self) -> tuple[int, ...]:
        """The planned seeds."""
        return self.plan.seeds

    @property
    def rows(self) -> tuple[RowEntry, ...]:
        """The rows of the table, without teachers."""
        return self.plan.rows

    @property
    def teachers(self) -> tuple[RowEntry, ...]:
        """The teachers, which are trained once for the rows that name them."""
        return self.plan.teachers

    @property
    def tasks(self) -> Mapping[str, TaskEntry]:
        """The set-up of each task of the suite."""
        return self.plan.tasks

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """The results of all completed runs, in the order of the plan."""
        return tuple(run.result for run in self.runs if run.result is not None)

    @cached_property
    def _by_row_and_task(self) -> Mapping[tuple[str, str], tuple[RunRecord, ...]]:
        found: dict[tuple[str, str], list[RunRecord]] = {}
        for run in sorted(self.runs, key=lambda run: run.seed):
            found.setdefault((run.row, run.task), []).append(run)
        return {key: tuple(runs) for key, runs in found.items()}

    def of(self, row: str, task: str) -> tuple[RunRecord, ...]:
        """Return the runs of one row and task, ordered by seed."""
        return self._by_row_and_task.get((row, task), ())


def metric_values(runs: Iterable[RunRecord], column: str) -> dict[int, float]:
    """Return the values of one column by seed; seeds without it are left out."""
    return {run.seed: run.numbers[column].value for run in runs if column in run.numbers}


def read_run(run_dir: Path) -> RunFolder:
    """Read the plan of a run folder and the state of each of its runs.

    Args:
        run_dir: The folder with `plan.json`.

    Returns:
        The run folder with every planned run in any state.

    Raises:
        UserError: There is no readable plan, a result cannot be read, or a result with the planned identity has another
            budget, task or seed.
    """
    plan = read_plan(run_dir)
    runs = tuple(_read_record(entry, run_dir, plan.budget) for entry in plan.runs)
    return RunFolder(run_dir, plan, _mark_orphans(runs))


def _read_record(entry: RunEntry, run_dir: Path, budget: str) -> RunRecord:
    """Find the state of a planned run.

    A result with the planned settings takes precedence over a `failure.json` of an earlier attempt; a failure takes
    precedence over a result with other settings.
    """
    folder = run_dir / entry.path
    run = RunRecord(
        row=entry.row,
        task=entry.task,
        seed=entry.seed,
        folder=folder,
        state=MISSING,
        result=None,
        message="not run yet",
        log_tail=(),
        command=tuple(str(word) for word in run_file(folder).get("command") or ()),
        identity=entry.identity,
        needs=None if entry.needs is None else run_dir / entry.needs,
    )
    stale = None
    if (folder / RESULT_FILE).exists():
        result = read_result(folder / RESULT_FILE)
        stale = _why_stale(run, result, budget)
        if stale is None:
            return replace(run, state=COMPLETED, result=result, message="")
    if (folder / FAILURE_FILE).exists():
        failure = read_model(folder / FAILURE_FILE, _Failure, PLAN_AGAIN)
        tail = tuple(str(line) for line in failure.log_tail)
        return replace(run, state=FAILED, message=failure.message, log_tail=tail)
    if stale is not None:
        return replace(run, state=STALE, message=stale)
    return run


def _why_stale(run: RunRecord, result: Result, budget: str) -> str | None:
    """Return why a result does not have the planned settings; None if it has them.

    Raises:
        UserError: The result has the planned identity but contradicts the plan.
    """
    if run.identity is None and result.budget != budget:
        return f"a result of budget '{result.budget}' is here; {_REPLACED}"
    if run.identity is not None and result.identity != run.identity:
        return f"a result of other settings is here; {_REPLACED}"
    if (result.task, result.seed) != (run.task, run.seed):
        raise UserError(
            f"{result.path} is of task {result.task}, seed {result.seed}; the plan has task {run.task}, "
            f"seed {run.seed} there. {RUN_AGAIN}"
        )
    if result.budget != budget:
        raise UserError(
            f"{result.path} was made with budget '{result.budget}', the plan has '{budget}', and "
            f"rows of different budgets never share a table. {RUN_AGAIN}"
        )
    return None


def _mark_orphans(runs: tuple[RunRecord, ...]) -> tuple[RunRecord, ...]:
    """Mark as stale each result whose classifier or teacher is not the planned one.

    The plan cannot know the identity of a run before its checkpoint exists. If that identity is null and the run that
    makes the checkpoint is not completed, the result was made from other weights.
    """
    states = {run.folder: run.state for run in runs}
    marked = []
    for run in runs:
        source = COMPLETED if run.needs is None else states.get(run.needs, MISSING)
        if run.result and run.identity is None and source != COMPLETED:
            needed = "teacher" if TASKS[run.task].starts_from is None else "classifier"
            message = f"its {needed} is {source}, so this result is of other weights"
            run = replace(run, state=STALE, result=None, message=message)
        marked.append(run)
    return tuple(marked)


def _read_curves(folder: Path, result: Result) -> Curves:
    """Read the points that have both an epoch and a finite value."""
    path = folder / str(result.artifacts.get("curves") or CURVES_FILE)
    if not path.exists():
        return Curves()
    content = read_model(path, _CurvesFile, PLAN_AGAIN)
    main = TASKS[result.task].main_metric
    return Curves(_points(content.train, "loss"), _points(content.val, main))


def _points(entries: Iterable[Mapping[str, Any]], key: str) -> tuple[tuple[float, float], ...]:
    found = []
    for entry in entries:
        epoch, value = entry.get("epoch"), entry.get(key)
        if epoch is not None and value is not None and math.isfinite(value):
            found.append((float(epoch), float(value)))
    return tuple(found)
