"""Select the part of a suite that a command runs, its budget and its data.

The table always contains the whole suite. Rows, tasks and seeds of a command select the runs; budget, precision,
overrides and data are their settings.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.suite.load import missing_tricks
from benchmarks.suite.model import Dataset, Row, Suite, TaskSetup, replace
from benchmarks.suite.names import safe_name
from contract.errors import UserError, unknown
from contract.settings import BUDGETS, DEVICES, PRECISIONS
from contract.tasks import SOURCE, TASKS
from datasets.layouts import kind_of

# Settings of loaders and of checkpoints to resume from. The order of the images and every random draw follow from
# positions, so they cannot change a number: on a CPU a resumed training equals an uninterrupted one to the bit, and on
# a GPU it differs from it no more than a repetition.
WITHOUT_EFFECT = (
    *("num_workers", "workers", "prefetch_factor", "pin_memory", "persistent_workers"),
    "checkpoint_every_epochs",
)
CHECKPOINT_HOOK = ("default_hooks", "checkpoint")
_LONGEST_SUFFIX = 60


@dataclass(frozen=True)
class Selection:
    """Options of `run` and `plan` that select runs and their settings.

    Attributes:
        budget: `full`, `short` or `smoke`.
        precision: Value of the tasks' option `--precision`.
        device: Value of the tasks' option `--device`.
        deterministic: Whether the tasks get the option `--deterministic`.
        trackers: Experiment trackers that the tasks report to.
        processes: Number of processes that train a run together, each on a GPU.
        teacher_processes: The same for teachers; None for `processes`.
        gloo: Whether several processes may train a run on a CPU.
        backbones: Specs that each add a row, trained like the last row of the suite.
        rows: Names of the rows to run; None for all.
        tasks: Tasks to run; None for all.
        seeds: Seeds that replace the suite's; None takes the suite's seeds, or only the first one under `smoke`.
        overrides: Config keys and values by task.
        data: Folders that replace the suite's, by task.
    """

    budget: str = "full"
    precision: str = "auto"
    device: str = "auto"
    deterministic: bool = False
    trackers: tuple[str, ...] = ()
    processes: int = 1
    teacher_processes: int | None = None
    gloo: bool = False
    backbones: tuple[str, ...] = ()
    rows: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)

    def wants(self, row: str, task: str, seed: int) -> bool:
        """Return whether a run is selected by name."""
        return (
            (self.rows is None or row in self.rows)
            and (self.tasks is None or task in self.tasks)
            and (self.seeds is None or seed in self.seeds)
        )

    @property
    def suffix(self) -> str:
        """The part of a run folder's name for settings that change numbers; often empty."""
        parts = [value for value in (self.precision, self.device) if value != "auto"]
        parts += ["deterministic"] if self.deterministic else []
        parts += [f"processes={self.processes}"] if self.processes > 1 else []
        if self.teacher_processes not in (None, self.processes):
            parts.append(f"teachers={self.teacher_processes}")
        for task, values in sorted(self.overrides.items()):
            parts += [
                f"{task}.{key}={_plain(value)}"
                for key, value in sorted(values.items())
                if not is_without_effect(key)
            ]
        parts += [
            f"{task}-data={folder.name}-{_digest(str(folder.absolute()))[:6]}"
            for task, folder in sorted(self.data.items())
        ]
        text = "".join(f"+{safe_name(part)}" for part in parts)
        exact = repr((self.precision, self.device, self.overrides))
        same = all(safe_name(part) == part for part in parts)
        if len(text) > _LONGEST_SUFFIX:
            return f"{text[:_LONGEST_SUFFIX]}-{_digest(text + exact)[:8]}"
        # Two values that look the same in a folder's name still need two folders.
        return text if same else f"{text}-{_digest(exact)[:6]}"


def is_without_effect(key: str) -> bool:
    """Return whether a config key, such as `train_dataloader.num_workers`, cannot change a number."""
    parts = key.split(".")
    return parts[-1] in WITHOUT_EFFECT or tuple(parts[:2]) == CHECKPOINT_HOOK


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else repr(value).replace(" ", "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def select(
    suite: Suite,
    selection: Selection,
    tricks: Sequence[str],
    *,
    earlier_rows: Sequence[Row] = (),
    earlier_seeds: Sequence[int] = (),
) -> Suite:
    """Return the suite of the whole table, with the changes of a command.

    Args:
        suite: The suite as written in its file.
        selection: The selected runs and settings.
        tricks: The tricks of this version, which limit the rows that an added row can copy.
        earlier_rows: Rows that `--backbone` added to the run folder earlier.
        earlier_seeds: Seeds that the run folder's table has.

    Raises:
        UserError: A name is unknown, or an option concerns a task that does not run.
    """
    for kind, value, known in (
        ("budget", selection.budget, BUDGETS),
        ("precision", selection.precision, PRECISIONS),
        ("device", selection.device, DEVICES),
    ):
        if value not in known:
            raise unknown(kind, value, known)
    rows = _all_rows(suite, selection, tricks, earlier_rows)
    names = [row.name for row in rows]
    for name in selection.rows or ():
        if name not in names:
            raise unknown("row", name, names)
    for name in selection.tasks or ():
        if name not in suite.tasks:
            raise unknown("task", name, sorted(suite.tasks))
    _check_that_tasks_run(suite, selection, rows)
    datasets = dict(suite.smoke_datasets if selection.budget == "smoke" else suite.datasets)
    tasks = _replace_data(suite.tasks, datasets, selection.data)
    return replace(
        suite,
        rows=rows,
        teachers=_used_teachers(suite, rows),
        tasks=_override(tasks, selection.overrides),
        datasets=datasets,
        seeds=tuple(sorted({*earlier_seeds, *_own_seeds(suite, selection)})),
        first_seed=suite.seeds[0],
    )


def parse_override(text: str) -> tuple[str, str, Any]:
    """Split `TASK.key=value` into task, key and value.

    Raises:
        UserError: The text has another format or an unknown task.
    """
    target, equals, value = text.partition("=")
    task, dot, key = target.partition(".")
    if not (equals and dot and key):
        raise UserError(
            f"--set {text!r} cannot be read. Write TASK.key=value, for example --set det.batch_size=2."
        )
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    try:
        return task, key, ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return task, key, value


def _own_seeds(suite: Suite, selection: Selection) -> tuple[int, ...]:
    if selection.seeds is not None:
        return selection.seeds
    # One seed is enough to show that the code runs; the numbers of a smoke run have no meaning.
    return suite.seeds[:1] if selection.budget == "smoke" else suite.seeds


def _all_rows(
    suite: Suite, selection: Selection, tricks: Sequence[str], earlier: Sequence[Row]
) -> tuple[Row, ...]:
    own = {row.name for row in suite.rows}
    rows = [*suite.rows, *(row for row in earlier if row.name not in own)]
    for spec in selection.backbones:
        name = safe_name(spec)
        if name in own:
            raise UserError(
                f"--backbone {spec} would add a row of the name {name!r}, which the suite has already."
            )
        # The model row may have changed since it was added.
        rows = [row for row in rows if row.name != name]
        rows.append(_row_for_backbone(spec, suite.rows, tricks))
    return tuple(rows)


def _used_teachers(suite: Suite, rows: Sequence[Row]) -> tuple[Row, ...]:
    named = {row.teacher for row in rows}
    return tuple(teacher for teacher in suite.teachers if teacher.name in named)


def _row_for_backbone(spec: str, rows: Sequence[Row], tricks: Sequence[str]) -> Row:
    """Create the row of `--backbone SPEC`, pretrained like the last available row."""
    pretrained = [r for r in rows if r.trains_classifier and not missing_tricks(r, tuple(tricks))]
    if not pretrained:
        raise UserError(
            f"--backbone {spec} adds a row like the last one that is pretrained here, and the "
            "suite has none. Write a suite file with the row instead; it needs two lines: "
            f'base = "mini" and add_rows = [dict(name="mine", backbone={spec!r}, '
            'recipe="standard")].'
        )
    model = pretrained[-1]
    note = f"added with --backbone; recipe, tricks and learning rates as in {model.name}"
    return replace(
        model,
        name=safe_name(spec),
        backbone=spec,
        reference={},
        note=note,
        gpu_hours=None,
        added=True,
    )


def _check_that_tasks_run(suite: Suite, selection: Selection, rows: Sequence[Row]) -> None:
    """Refuse options for tasks that the command does not run."""
    running = set(suite.tasks if selection.tasks is None else selection.tasks)
    chosen = [row for row in rows if selection.rows is None or row.name in selection.rows]
    if SOURCE in suite.tasks and any(row.trains_classifier for row in chosen):
        running.add(SOURCE)
    for name in selection.data:
        if name not in running:
            raise UserError(
                f"--{name}-data was given, but the suite has no task {name!r} to use the data in."
            )
    for name, values in selection.overrides.items():
        if name not in running:
            raise UserError(
                f"--set {name}.{next(iter(values))}=… was given, but task {name!r} does not run. "
                f"Tasks that run: {', '.join(task for task in suite.tasks if task in running)}."
            )


def _replace_data(
    tasks: Mapping[str, TaskSetup], datasets: dict[str, Dataset], data: Mapping[str, Path]
) -> dict[str, TaskSetup]:
    """Replace the data of tasks by the user's folders, each as a separate dataset."""
    changed = dict(tasks)
    for name, folder in data.items():
        usual = tasks[name].data
        kind = kind_of(folder, name)
        datasets[f"--{name}-data"] = Dataset(kind=kind, path=folder.absolute())
        for other, setup in tasks.items():
            # Tasks with the same dataset as the classifier change with it.
            shares = name == SOURCE and setup.data == usual and other not in data
            if other == name or shares:
                changed[other] = replace(setup, data=f"--{name}-data")
    return changed


def _override(
    tasks: Mapping[str, TaskSetup], overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, TaskSetup]:
    changed = dict(tasks)
    for name, values in overrides.items():
        changed[name] = replace(tasks[name], overrides={**tasks[name].overrides, **values})
    return changed
