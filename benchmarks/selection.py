"""What a command asks of a suite: which part of it, how long, on which data."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.suite import Dataset, Row, Stage, Suite
from benchmarks.suite_schema import STAGES, safe_name
from contract.errors import UserError, unknown
from contract.settings import BUDGETS, PRECISIONS
from datasets.layouts import kind_of


@dataclass(frozen=True)
class Selection:
    """Options of `run` and `plan` that decide which cells there are.

    Args:
        budget: `full`, `short` or `smoke`.
        precision: As the stages understand it.
        backbones: Specs that each add a row, trained like the last row of the suite.
        rows: Names of the rows to keep; None for all.
        stages: Stages to keep; None for all.
        seeds: Seeds in place of the suite's; None for those, or the first of them under `smoke`.
        overrides: Config keys and values by stage.
        data: Folders in place of the suite's, by stage.
    """

    budget: str = "full"
    precision: str = "auto"
    backbones: tuple[str, ...] = ()
    rows: tuple[str, ...] | None = None
    stages: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)


def select(suite: Suite, selection: Selection, tricks: Sequence[str]) -> Suite:
    """Returns the part of a suite that a command asks for.

    Args:
        suite: The whole suite.
        selection: What is asked for.
        tricks: The tricks of this version, which decide what an added row can be like.

    Raises:
        UserError: A name is unknown, or nothing is left.
    """
    for kind, value, known in (
        ("budget", selection.budget, BUDGETS),
        ("precision", selection.precision, PRECISIONS),
    ):
        if value not in known:
            raise unknown(kind, value, known)
    rows = _select_rows(suite, selection, tricks)
    stages = _select_stages(suite, selection, rows)
    datasets = dict(suite.smoke_datasets if selection.budget == "smoke" else suite.datasets)
    stages = _replace_data(stages, datasets, selection.data)
    taught = {row.teacher for row in rows}
    return replace(
        suite,
        rows=rows,
        teachers=tuple(teacher for teacher in suite.teachers if teacher.name in taught),
        stages=_override(stages, selection.overrides),
        datasets=datasets,
        seeds=_select_seeds(suite, selection),
    )


def missing_tricks(row: Row, tricks: Sequence[str]) -> list[str]:
    """Returns the tricks of a row that it says this version may lack, and that it does lack."""
    return [name for name in row.requires if name not in tricks]


def parse_override(text: str) -> tuple[str, str, Any]:
    """Splits `STAGE.key=value` into stage, key and value.

    Raises:
        UserError: The text has another form or names an unknown stage.
    """
    target, equals, value = text.partition("=")
    stage, dot, key = target.partition(".")
    if not (equals and dot and key):
        raise UserError(
            f"--set {text!r} cannot be read. Write STAGE.key=value, for example --set "
            "det.batch_size=2."
        )
    if stage not in STAGES:
        raise unknown("stage", stage, STAGES)
    try:
        return stage, key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return stage, key, value


def _select_seeds(suite: Suite, selection: Selection) -> tuple[int, ...]:
    if selection.seeds is not None:
        return selection.seeds
    # That everything works shows with one seed; the numbers of a smoke run say nothing anyway.
    return suite.seeds[:1] if selection.budget == "smoke" else suite.seeds


def _select_rows(suite: Suite, selection: Selection, tricks: Sequence[str]) -> tuple[Row, ...]:
    rows = list(suite.rows)
    for spec in selection.backbones:
        if any(row.name == safe_name(spec) for row in rows):
            raise UserError(
                f"--backbone {spec} would add a row of the name {safe_name(spec)!r}, which the "
                "suite has already."
            )
        rows.append(_row_for_backbone(spec, suite.rows, tricks))
    if selection.rows is None:
        return tuple(rows)
    names = [row.name for row in rows]
    for name in selection.rows:
        if name not in names:
            raise unknown("row", name, names)
    return tuple(row for row in rows if row.name in selection.rows)


def _row_for_backbone(spec: str, rows: Sequence[Row], tricks: Sequence[str]) -> Row:
    """Makes the row of `--backbone SPEC`, pretrained like the last row that can be run."""
    pretrained = [row for row in rows if row.trains_classifier and not missing_tricks(row, tricks)]
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
        model, name=safe_name(spec), backbone=spec, reference={}, note=note, gpu_hours=None
    )


def _select_stages(suite: Suite, selection: Selection, rows: Sequence[Row]) -> dict[str, Stage]:
    """Keeps the stages asked for, and the classification that they start from."""
    if selection.stages is None:
        return dict(suite.stages)
    for name in selection.stages:
        if name not in suite.stages:
            raise unknown("stage", name, sorted(suite.stages))
    wanted = set(selection.stages)
    if any(row.trains_classifier for row in rows):
        wanted.add("cls")
    return {name: stage for name, stage in suite.stages.items() if name in wanted}


def _replace_data(
    stages: Mapping[str, Stage], datasets: dict[str, Dataset], data: Mapping[str, Path]
) -> dict[str, Stage]:
    """Points stages at the user's folders, each under a dataset name of its own."""
    changed = dict(stages)
    for name, folder in data.items():
        if name not in stages:
            raise UserError(
                f"--{name}-data was given, but the suite has no stage {name!r} to use the data in."
            )
        stage = stages[name]
        kind = kind_of(folder, name)
        datasets[f"--{name}-data"] = Dataset(kind, folder.absolute())
        changed[name] = replace(stage, data=f"--{name}-data")
        probe = stages.get("probe")
        # Where the suite probes on the classifier's images, so it does on the user's.
        if name == "cls" and probe is not None and probe.data == stage.data:
            changed["probe"] = replace(changed["probe"], data="--cls-data")
    return changed


def _override(
    stages: Mapping[str, Stage], overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, Stage]:
    changed = dict(stages)
    for name, values in overrides.items():
        if name not in stages:
            raise UserError(
                f"--set {name}.{next(iter(values))}=… was given, but stage {name!r} does not run. "
                f"Stages that run: {', '.join(stages)}."
            )
        changed[name] = replace(stages[name], overrides={**stages[name].overrides, **values})
    return changed
