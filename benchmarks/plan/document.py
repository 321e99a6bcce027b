"""`plan.json`: the rows, tasks and runs of a run folder's table. The planner writes it, the results read it.

It always contains the whole planned suite, even if a command runs only a part of it. Version 2 wrote `stages` for
tasks and `cells` for runs; it is read as if it were version 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from benchmarks.suite.model import Row, TaskOptions
from contract.errors import UserError
from contract.models import Model, problems
from contract.settings import BUDGETS
from contract.tasks import SOURCE, TASKS

PLAN_FILE = "plan.json"
PLAN_VERSION = 3
_OLD_VERSION = 2
PLAN_AGAIN = "Start `python -m benchmarks run` again: it plans again and keeps finished runs."
_NO_PLAN = "Name a folder that `python -m benchmarks run` wrote, for example `runs/mini`."
_MOST_PROBLEMS = 3


class TaskEntry(Model):
    """How the suite runs one task.

    Attributes:
        config: Path of its config, relative to the repository.
        data: The dataset's folder, relative to the repository if it is inside it.
        kind: The dataset's layout.
        overrides: Values of config keys, as Python writes them.
        tricks: Tricks of all rows.
    """

    config: str
    data: str
    kind: str
    overrides: Mapping[str, str] = Field(default_factory=dict)
    tricks: tuple[str, ...] = ()


class RowTaskEntry(Model):
    """What a row sets for one task; see `benchmarks.suite.model.TaskOptions`."""

    recipe: str | None = None
    tricks: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    teacher: str | None = None
    lr: float = 1.0


_NOTHING = RowTaskEntry()


class RowEntry(Model):
    """One row of the table, or a teacher.

    Attributes:
        tasks: What it sets for single tasks; absent tasks run as their configs say.
        precision: Replaces the plan's precision.
        weights: A pretrained checkpoint that replaces training a classifier.
        reference: Published figures by column.
        unavailable: Why this version cannot run it; None if it can.
        parameters: Parameters of its backbone; None if unknown.
        added: Whether `--backbone` added it.
    """

    name: str
    backbone: str
    pretrain: bool = True
    tasks: Mapping[str, RowTaskEntry] = Field(default_factory=dict)
    precision: str | None = None
    weights: str | None = None
    published: bool = False
    reference: Mapping[str, float] = Field(default_factory=dict)
    note: str = ""
    unavailable: str | None = None
    parameters: int | None = None
    added: bool = False

    def of(self, task: str) -> RowTaskEntry:
        """Return what the row sets for a task."""
        return self.tasks.get(task, _NOTHING)

    @property
    def recipe(self) -> str | None:
        """The recipe of the classifier."""
        return self.of(SOURCE).recipe

    @property
    def tricks(self) -> tuple[str, ...]:
        """The tricks of the classifier."""
        return self.of(SOURCE).tricks

    @property
    def teacher(self) -> str | None:
        """The teacher of the classifier."""
        return self.of(SOURCE).teacher

    @property
    def overrides(self) -> tuple[str, ...]:
        """Descriptions of the tricks and learning rates of single tasks; tasks with the same ones are grouped."""
        found: dict[str, list[str]] = {}
        for name in TASKS:
            options = self.of(name)
            # The row itself shows its classifier's tricks.
            tricks = () if name == SOURCE else options.tricks
            rate = () if options.lr == 1 else (f"lr × {options.lr:g}",)
            if tricks or rate:
                found.setdefault(", ".join([*tricks, *rate]), []).append(name)
        return tuple(f"{', '.join(names)}: {words}" for words, names in found.items())


class RunEntry(Model):
    """One row × task × seed.

    Attributes:
        path: Its folder, relative to the run folder.
        identity: Hash of everything that decides its numbers; None until the checkpoint that it starts from exists.
        needs: Folder of the run that writes its initial checkpoint or its teacher's; None if there is none.
    """

    row: str
    task: str
    seed: int
    path: str
    identity: str | None = None
    needs: str | None = None


class PlanDocument(Model):
    """The content of `plan.json`.

    Attributes:
        precision: The requested precision; rows may override it.
        seeds: Seeds of the table, from this command and earlier ones.
        columns: Names of the table's columns.
        intended: Intended differences between rows, with reasons.
        tasks: Tasks by name, in the order of the plan.
        teachers: Classifiers that are trained once for the rows that name them.
    """

    schema_version: Literal[3] = PLAN_VERSION
    suite: str
    title: str
    description: str
    budget: str
    precision: str = "auto"
    seeds: tuple[int, ...]
    columns: tuple[str, ...]
    intended: Mapping[str, str]
    tasks: Mapping[str, TaskEntry]
    rows: tuple[RowEntry, ...]
    teachers: tuple[RowEntry, ...]
    runs: tuple[RunEntry, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> PlanDocument:
        if self.budget not in BUDGETS:
            raise ValueError(f"'budget' is '{self.budget}', expected one of {list(BUDGETS)}")
        names = {row.name for row in (*self.rows, *self.teachers)}
        for run in self.runs:
            if run.row not in names:
                raise ValueError(f"it has a run of row '{run.row}', which is not among its rows")
        return self


def read_plan(run_dir: Path) -> PlanDocument:
    """Read the plan of a run folder, of this schema version or the one before.

    Raises:
        UserError: There is no plan, or it cannot be read.
    """
    path = run_dir / PLAN_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. {_NO_PLAN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}). {PLAN_AGAIN}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object. {PLAN_AGAIN}")
    version = content.get("schema_version")
    if version not in (_OLD_VERSION, PLAN_VERSION):
        raise UserError(
            f"{path} has schema_version {version}; this version reads {PLAN_VERSION}. {PLAN_AGAIN}"
        )
    try:
        upgraded = _upgraded(content) if version == _OLD_VERSION else content
        return PlanDocument.model_validate_json(json.dumps(upgraded), extra="ignore")
    except ValidationError as error:
        found = list(problems(error))[:_MOST_PROBLEMS]
        raise UserError(f"{path}: {' '.join(found)} {PLAN_AGAIN}") from None
    except KeyError as error:
        raise UserError(f"{path}: it has no key {error}. {PLAN_AGAIN}") from None
    except (TypeError, AttributeError) as error:
        raise UserError(f"{path}: it has no sound entry {error}. {PLAN_AGAIN}") from None


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a version 2 plan with the keys of version 3."""
    runs = [{**run, "task": run["stage"]} for run in old["cells"]]
    return {
        **old,
        "schema_version": PLAN_VERSION,
        "tasks": {
            name: {
                "config": setup.get("config", ""),
                "data": setup.get("data", ""),
                "kind": setup.get("kind", ""),
                "overrides": setup.get("overrides", {}),
            }
            for name, setup in old["stages"].items()
        },
        "rows": [_upgraded_row(row) for row in old["rows"]],
        "teachers": [_upgraded_row(row) for row in old["teachers"]],
        "runs": runs,
    }


def _upgraded_row(old: dict[str, Any]) -> dict[str, Any]:
    tasks: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        prefix = "" if task == SOURCE else f"{task}_"
        found = {
            "tricks": old.get(f"{prefix}tricks", []),
            "lr": old.get(f"{task}_lr", 1.0),
        }
        if task == SOURCE:
            found |= {"recipe": old.get("recipe"), "teacher": old.get("teacher")}
        tasks[task] = found
    reference = {k: v for k, v in (old.get("reference") or {}).items() if v is not None}
    return {**old, "tasks": tasks, "reference": reference, "note": old.get("note") or ""}


def added_rows(document: PlanDocument, root: Path) -> list[Row]:
    """Return the rows that `--backbone` added to a run folder earlier.

    Args:
        document: The run folder's plan.
        root: The repository.
    """
    return [
        Row(
            name=row.name,
            backbone=row.backbone,
            pretrain=row.pretrain,
            tasks={name: TaskOptions(**given.model_dump()) for name, given in row.tasks.items()},
            precision=row.precision,
            weights=None if row.weights is None else root / row.weights,
            published=row.published,
            note=row.note,
            added=True,
        )
        for row in document.rows
        if row.added
    ]
