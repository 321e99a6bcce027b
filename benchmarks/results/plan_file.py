"""`plan.json`, as the report needs it: what was wanted. All reading of the plan is here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from contract.models import Model, read_model
from contract.settings import BUDGETS
from contract.tasks import TASKS

PLAN_FILE = "plan.json"
PLAN_AGAIN = "Start `python -m benchmarks run` again: it plans again and keeps finished runs."
_NO_PLAN = "Name a folder that `python -m benchmarks run` wrote, for example `runs/mini`."


# A validator that runs before the fields' own turns JSON into Python, where a strict tuple refuses a list.
_Names = Annotated[tuple[str, ...], Field(strict=False)]


class TaskSettings(Model):
    """What a row overrides in one task; the keys `det_tricks`, `det_lr` … of a row's entry."""

    tricks: _Names = ()
    lr: float = 1.0


class PlannedRow(Model):
    """One row of the table, or a teacher.

    Attributes:
        tricks: Of classification.
        reference: Published figures by column.
        unavailable: Why the row cannot run; None if it can.
        parameters: Of its backbone; None if unknown.
        teacher: Name of the teacher that it is distilled from.
        tasks: What it overrides, by task.
    """

    name: str
    backbone: str
    recipe: str | None
    tricks: _Names
    pretrain: bool
    reference: Mapping[str, float]
    note: str | None
    unavailable: str | None
    parameters: int | None
    teacher: str | None = None
    tasks: Mapping[str, TaskSettings] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_tasks(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        tasks = {
            task: {
                key: values[f"{task}_{key}"]
                for key in TaskSettings.model_fields
                if f"{task}_{key}" in values
            }
            for task in TASKS
        }
        reference = values.get("reference") or {}
        return {
            **values,
            "tasks": tasks,
            "reference": {name: value for name, value in reference.items() if value is not None},
        }

    @property
    def overrides(self) -> tuple[str, ...]:
        """The tricks and learning rates of single tasks, in words; tasks with the same overrides are named together."""
        tasks: dict[str, list[str]] = {}
        for name, settings in self.tasks.items():
            # A classifier's tricks are the subject of its row, which names them itself.
            tricks = () if TASKS[name].starts_from is None else settings.tricks
            rate = () if settings.lr == 1 else (f"lr × {settings.lr:g}",)
            if tricks or rate:
                tasks.setdefault(", ".join([*tricks, *rate]), []).append(name)
        return tuple(f"{', '.join(names)}: {words}" for words, names in tasks.items())


class PlannedRun(Model):
    """One row × task × seed.

    Attributes:
        path: Its work dir, relative to the run folder.
        identity: Hash of its settings; None until the checkpoint that it starts from exists.
        needs: Work dir of the run that makes the checkpoint it starts from, or its teacher's.
    """

    row: str
    task: str = Field(alias="stage")
    seed: int
    path: str
    identity: str | None
    needs: str | None


class PlannedTask(Model):
    """How the suite runs one task."""

    config: str | None = None
    overrides: Mapping[str, Any] = Field(default_factory=dict)


class Plan(Model):
    """The plan.

    Attributes:
        columns: Names of the table's columns.
        intended: What the rows differ in on purpose, and why.
        teachers: Trained once, for the rows that name them.
    """

    schema_version: Literal[2]
    suite: str
    title: str
    description: str
    budget: str
    seeds: tuple[int, ...]
    tasks: Mapping[str, PlannedTask] = Field(alias="stages")
    rows: tuple[PlannedRow, ...]
    runs: tuple[PlannedRun, ...] = Field(alias="cells")
    columns: tuple[str, ...]
    intended: Mapping[str, str]
    teachers: tuple[PlannedRow, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Plan:
        if self.budget not in BUDGETS:
            raise ValueError(f"'budget' is '{self.budget}', expected one of {list(BUDGETS)}")
        names = {row.name for row in (*self.rows, *self.teachers)}
        for run in self.runs:
            if run.row not in names:
                raise ValueError(f"it has a run of row '{run.row}', which is not among its rows")
        return self


def read_plan(run_dir: Path) -> Plan:
    """Read the plan of a run folder.

    Raises:
        UserError: There is no plan, or it cannot be read.
    """
    path = run_dir / PLAN_FILE
    return read_model(path, Plan, PLAN_AGAIN if path.exists() else _NO_PLAN)
