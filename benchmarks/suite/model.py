"""The models of a suite: rows, tasks, datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from benchmarks.suite.names import COLUMNS, DEFAULT_COLUMNS, INTENDED, KINDS
from contract.errors import unknown
from contract.models import Model
from contract.settings import PRECISIONS
from contract.tasks import SOURCE
from datasets.kinds import Kind as Layout

_MOST_SEED = 2**32 - 1

Changed = TypeVar("Changed", bound=BaseModel)


def replace(record: Changed, **changes: Any) -> Changed:
    """Return a copy of a record with changed values.

    Raises:
        TypeError: The record has no field of a name.
    """
    unknown_fields = changes.keys() - type(record).model_fields.keys()
    if unknown_fields:
        raise TypeError(f"{type(record).__name__} has no field {sorted(unknown_fields)}")
    return record.model_copy(update=changes)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple | range):
        raise ValueError(f"{value!r} is not a list")
    return tuple(value)


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f"{list(values)} names {twice!r} twice")
    return values


def _not_a_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    return value


def _known(kind: str, names: Any) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(str(unknown(kind, name, names)))
        return name

    return AfterValidator(check)


Number = Annotated[float, BeforeValidator(_not_a_bool)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), AfterValidator(_all_different)]
Seed = Annotated[int, BeforeValidator(_not_a_bool), Field(ge=0, le=_MOST_SEED)]
Seeds = Annotated[
    tuple[Seed, ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_all_different),
    Field(min_length=1),
]
Column = Annotated[str, _known("column", COLUMNS)]
Columns = Annotated[
    tuple[Column, ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_all_different),
    Field(min_length=1),
]
Kind = Annotated[str, _known("kind", KINDS)]
Precision = Annotated[str, _known("precision", PRECISIONS)]


def _figure(value: float, column: str) -> None:
    quantity = COLUMNS[column]
    if value < 0 and quantity.kind != "estimate":
        raise ValueError(f"{column} is {value!r}, which is below 0")
    if quantity.kind == "score" and value > 100:
        raise ValueError(f"{column} is {value!r}, which is no percentage")


def _reference(figures: Mapping[str, float]) -> Mapping[str, float]:
    for column, value in figures.items():
        if column not in COLUMNS:
            raise ValueError(str(unknown("reference", column, COLUMNS)))
        _figure(value, column)
    return figures


class TaskOptions(Model):
    """The settings of a row for one task.

    Attributes:
        recipe: Name of a recipe of the task.
        tricks: Names of tricks of the task, in the order of application.
        requires: Those of `tricks` that this version may lack; without them the row is shown as not available instead
            of being an error.
        teacher: Name of the suite's teacher for distillation.
        lr: Factor on the learning rate of the task's config.
    """

    recipe: str | None = None
    tricks: Names = ()
    requires: Names = ()
    teacher: str | None = None
    # 3 and 3.0 are the same factor and therefore give the same identity.
    lr: Annotated[Positive, AfterValidator(float)] = 1.0


_NOTHING = TaskOptions()


class Row(Model):
    """One line of the table: a backbone and how it is pretrained.

    Attributes:
        name: Name of the row, and of its folder.
        backbone: Spec for `backbones.create`.
        pretrain: False for the control, whose tasks start from random weights.
        tasks: What the row sets for single tasks; absent tasks run as their configs say.
        precision: Replaces the command's `--precision`, for suites that compare precisions.
        weights: A pretrained checkpoint that replaces training a classifier.
        published: Whether `weights` comes from the published weights of the backbone's library.
        reference: Published figures by column; scores in percent.
        note: A remark below the table.
        gpu_hours: GPU-hours of the classifier; `plan` names them where nothing was measured.
        added: Whether `--backbone` added the row.
    """

    name: str
    backbone: str
    pretrain: bool = True
    tasks: Mapping[str, TaskOptions] = Field(default_factory=dict)
    precision: Precision | None = None
    weights: Path | None = None
    published: bool = False
    reference: Annotated[Mapping[str, Number], AfterValidator(_reference)] = Field(
        default_factory=dict
    )
    note: str = ""
    gpu_hours: Positive | None = None
    added: bool = False

    def of(self, task: str) -> TaskOptions:
        """Return what the row sets for a task."""
        return self.tasks.get(task, _NOTHING)

    def with_task(self, task: str, **changes: Any) -> Row:
        """Return the row with other options of one task."""
        options = self.of(task).model_copy(update=changes)
        tasks = {**self.tasks, task: options}
        return replace(self, tasks={name: kept for name, kept in tasks.items() if kept != _NOTHING})

    @property
    def trains_classifier(self) -> bool:
        """Whether a run of the row writes its pretrained checkpoint."""
        return self.pretrain and self.weights is None

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


class TaskSetup(Model):
    """How a suite runs a task.

    Attributes:
        config: Path of the task's config, relative to the repository.
        data: Name of the dataset.
        overrides: Values of config keys; the key is `set` in a suite file.
        tricks: Tricks of all rows; they come before those of a row.
    """

    config: str
    data: str
    overrides: Mapping[str, Any] = Field(default_factory=dict, alias="set")
    tricks: Names = ()


class SmokeFolder(Model):
    """The folder that the smoke budget uses instead of a dataset's.

    Attributes:
        path: The folder.
        generate: The miniworld preset to generate if the folder is missing.
    """

    path: str
    generate: str | None = None


class WrittenDataset(Model):
    """A dataset as written in a suite file.

    Attributes:
        kind: Its layout: `imagefolder`, `voc`, `coco` or `ade20k`.
        path: Its folder, relative to the suite file; in a built-in suite relative to the repository.
        generate: The miniworld preset to generate if the folder is missing.
        smoke: The folder that the smoke budget uses instead.
    """

    kind: Kind
    path: str
    generate: str | None = None
    smoke: SmokeFolder | None = None


class Dataset(Model):
    """A folder in one of the known layouts.

    Attributes:
        kind: The layout.
        path: The folder.
        generate: The miniworld preset to generate if the folder is missing.
    """

    kind: Layout
    path: Path
    generate: str | None = None


class Head(Model):
    """The keys of a suite other than rows, tasks and datasets.

    Attributes:
        title: Heading of the table.
        description: Text below the heading.
        seeds: Seeds of every row and task.
        columns: Columns of the table; `python -m benchmarks list tasks` names them. By default the usual ones of the
            suite's tasks.
        intended: What rows differ in on purpose (`protocol` or `precision`), and why; the table repeats the reason.
    """

    title: str = ""
    description: str = ""
    seeds: Seeds = (0,)
    columns: Columns = DEFAULT_COLUMNS
    intended: Mapping[Annotated[str, _known("difference", INTENDED)], str] = Field(
        default_factory=dict
    )


class Suite(Model):
    """Rows, tasks, datasets and seeds of one table.

    Attributes:
        tasks: Set-ups by task name, in the order of `contract.tasks.TASKS`.
        teachers: Like rows, but only classifiers; each is trained once, with the first seed, for all rows that name it.
        columns: Columns of the table.
        intended: Intended differences between rows, with reasons.
        first_seed: The seed of the teachers; None for the first of `seeds`. It does not change when a command adds
            seeds.
    """

    name: str
    title: str
    description: str
    tasks: Mapping[str, TaskSetup]
    datasets: Mapping[str, Dataset]
    smoke_datasets: Mapping[str, Dataset]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    teachers: tuple[Row, ...] = ()
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    intended: Mapping[str, str] = Field(default_factory=dict)
    first_seed: int | None = None

    @property
    def teacher_seed(self) -> int:
        """The seed of all teachers."""
        return self.seeds[0] if self.first_seed is None else self.first_seed

    @property
    def used_datasets(self) -> dict[str, Dataset]:
        """The datasets that the tasks use, by name."""
        return {setup.data: self.datasets[setup.data] for setup in self.tasks.values()}
