"""The plan: all cells of a suite, and for each whether it is done, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import identity
from benchmarks.preflight import DataState, available_tricks
from benchmarks.run_folder import CellKey, finished_cells
from benchmarks.selection import Selection, missing_tricks
from benchmarks.suite import Row, Stage, Suite
from benchmarks.suite_schema import LR_KEYS, STAGES
from contract.errors import UserError
from contract.files import file_sha256, read_json, write_json
from contract.result import CHECKPOINT_FILE
from contract.settings import package_versions

# What is to be done with a cell.
CACHED = "cached"
ADOPT = "adopt"
RUN = "run"
RESUME = "resume"
WAITS = "waits"


@dataclass
class Cell:
    """One row × stage × seed, and what is known of it.

    Args:
        key: Its name and place.
        row: The row that it belongs to.
        stage: How the stage is run.
        data: The dataset.
        checkpoint: The file that it starts from; None for random weights.
        teacher: The file of the classifier that it is distilled from.
        needs: The classification cell that makes `checkpoint` or `teacher`.
        components: What decides its numbers; None while that is not known.
        identity: Hash of `components`.
        state: CACHED, ADOPT, RUN, RESUME or WAITS.
        reason: Why it has that state, in words.
        twin: An earlier cell of the plan that is to be run and has the same identity: the two are run once.
    """

    key: CellKey
    row: Row
    stage: Stage
    data: DataState
    checkpoint: Path | None
    teacher: Path | None
    needs: CellKey | None
    components: Mapping[str, Any] | None = None
    identity: str | None = None
    state: str = RUN
    reason: str = ""
    twin: CellKey | None = None

    @property
    def tricks(self) -> tuple[str, ...]:
        """All tricks of the stage, in order, but for those of the recipe."""
        return (*self.stage.tricks, *self.row.tricks_of(self.key.stage))

    @property
    def lr_factor(self) -> float:
        """What the learning rate of the stage's config is multiplied by."""
        return self.row.lr_of(self.key.stage)

    @property
    def source(self) -> str:
        """What `needs` is to this cell."""
        return "teacher" if self.key.stage == "cls" else "classifier"


@dataclass
class Plan:
    """The cells of a suite under a selection.

    Args:
        suite: The selected suite.
        selection: What was asked for.
        root: The repository.
        run_dir: The run folder.
        unavailable: By row, why this version cannot run it.
        parameters: By backbone spec, its number of parameters.
        cells: All cells, each after the one that it needs.
        finished: By identity, the work dirs of completed cells of this and all other runs in the same folder.
    """

    suite: Suite
    selection: Selection
    root: Path
    run_dir: Path
    unavailable: Mapping[str, str]
    parameters: Mapping[str, int]
    cells: list[Cell] = field(default_factory=list)
    finished: dict[str, Path] = field(default_factory=dict)

    def find(self, key: CellKey) -> Cell:
        """Returns the cell of that name."""
        return next(cell for cell in self.cells if cell.key == key)

    def folder(self, cell: Cell) -> Path:
        """Returns a cell's work dir."""
        return self.run_dir / cell.key.path

    def decide(self, cell: Cell) -> None:
        """Sets a cell's identity, state and reason from what lies on disk now."""
        if cell.needs is not None and self.find(cell.needs).state != CACHED:
            cell.state, cell.reason = WAITS, f"waits for its {cell.source}"
            return
        if cell.checkpoint is not None and cell.row.published and not cell.checkpoint.is_file():
            cell.state, cell.reason = RUN, "its published weights are fetched first"
            return
        if cell.data.fingerprint is None and cell.data.problem is None:
            cell.state, cell.reason = RUN, "its data are generated first"
            return
        # Data with a problem have no fingerprint, and so an identity that no earlier result has.
        cell.components = self._components(cell)
        cell.identity = identity.identity_of(cell.components)
        if cell.data.problem is not None:
            cell.state, cell.reason = RUN, cell.data.problem
            return
        cell.state, cell.reason = inspect_cell(self.folder(cell), cell.identity, cell.components)
        twin = self.finished.get(cell.identity)
        if cell.state == RUN and twin not in (None, self.folder(cell)) and twin.is_dir():
            cell.state, cell.reason = ADOPT, f"done in {self._shown(twin)}"

    def _components(self, cell: Cell) -> dict[str, Any]:
        row, stage = cell.row, cell.stage
        recipe = row.recipe if cell.key.stage == "cls" else None

        def digest(path: Path | None) -> str | None:
            return None if path is None else file_sha256(path)

        return {
            "stage": cell.key.stage,
            "backbone": row.backbone,
            "seed": cell.key.seed,
            "budget": self.selection.budget,
            "precision": self.precision(cell),
            "config": dict(identity.config_chain(self.root / stage.config, self.root)),
            "recipe": identity.recipe_components(cell.key.stage, recipe, cell.tricks, self.root),
            "tricks": list(cell.tricks),
            "overrides": {name: repr(stage.overrides[name]) for name in sorted(stage.overrides)},
            "dataset": cell.data.fingerprint,
            "checkpoint": digest(cell.checkpoint),
            "teacher": digest(cell.teacher),
            "code": identity.stage_code(cell.key.stage, self.root)
            | identity.own_code(row.backbone),
            "packages": dict(package_versions()),
            # Absent where it is 1, so that a row that says so is the row that says nothing.
            **({} if cell.lr_factor == 1 else {"lr_factor": cell.lr_factor}),
        }

    def precision(self, cell: Cell) -> str:
        """Returns the precision that a cell is asked to train in."""
        return cell.row.precision or self.selection.precision

    def write(self) -> None:
        """Writes `plan.json`, from which the table and the report know what was wanted."""
        write_json(self.run_dir / "plan.json", self._document())

    def _document(self) -> dict[str, Any]:
        return {
            "schema_version": 2,
            "suite": self.suite.name,
            "title": self.suite.title,
            "description": self.suite.description,
            "budget": self.selection.budget,
            "precision": self.selection.precision,
            "seeds": list(self.suite.seeds),
            "columns": list(self.suite.columns),
            "intended": dict(self.suite.intended),
            "stages": {
                name: {
                    "config": stage.config,
                    "data": self._shown(self.suite.datasets[stage.data].path),
                    "kind": self.suite.datasets[stage.data].kind,
                    "overrides": {key: repr(value) for key, value in stage.overrides.items()},
                }
                for name, stage in self.suite.stages.items()
            },
            "rows": [self._row_entry(row) for row in self.suite.rows],
            "teachers": [self._row_entry(row) for row in self.suite.teachers],
            "cells": [
                {
                    "row": cell.key.row,
                    "stage": cell.key.stage,
                    "seed": cell.key.seed,
                    "path": cell.key.path.as_posix(),
                    "identity": cell.identity,
                    "needs": None if cell.needs is None else cell.needs.path.as_posix(),
                }
                for cell in self.cells
            ],
        }

    def _row_entry(self, row: Row) -> dict[str, Any]:
        return {
            "name": row.name,
            "backbone": row.backbone,
            "pretrain": row.pretrain,
            "recipe": row.recipe,
            "tricks": list(row.tricks),
            "teacher": row.teacher,
            "det_tricks": list(row.det_tricks),
            "seg_tricks": list(row.seg_tricks),
            **{key: getattr(row, key) for key in LR_KEYS},
            "weights": None if row.weights is None else self._shown(row.weights),
            "reference": dict(row.reference),
            "note": row.note,
            "unavailable": self.unavailable.get(row.name),
            "parameters": self.parameters.get(row.backbone),
        }

    def _shown(self, path: Path) -> str:
        """Returns a path as a reader on another machine can use it, where possible."""
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()


def make_plan(
    suite: Suite,
    selection: Selection,
    data: Mapping[str, DataState],
    *,
    root: Path,
    run_dir: Path,
    parameters: Mapping[str, int] | None = None,
) -> Plan:
    """Lays out the cells of a selected suite and decides what is to be done with each.

    Args:
        suite: The suite, as `select` returns it.
        selection: What was asked for.
        data: The state of each dataset, by name.
        root: The repository.
        run_dir: The run folder.
        parameters: Number of parameters by backbone spec.

    Raises:
        UserError: There is nothing to run.
    """
    tricks = available_tricks(root)
    unavailable = {
        row.name: f"not available: trick {', '.join(missing)} is not in this version"
        for row in suite.rows
        if (missing := missing_tricks(row, tricks))
    }
    plan = Plan(suite, selection, root, run_dir, unavailable, parameters or {})
    plan.finished = finished_cells(run_dir.parent)
    plan.cells = list(_lay_out(plan, data))
    if not plan.cells:
        reasons = [f"{name}: {why}" for name, why in unavailable.items()] or ["no cell is left"]
        raise UserError(
            f"There is nothing to run: {'; '.join(reasons)}. Choose other rows or stages; rows "
            "without pretraining have no classification stage."
        )
    for cell in plan.cells:
        plan.decide(cell)
    first: dict[str, Cell] = {}
    for cell in plan.cells:
        if cell.state == RUN and cell.identity is not None:
            twin = first.setdefault(cell.identity, cell)
            if twin is not cell:
                cell.twin, cell.reason = twin.key, f"once, as {twin.key}"
    return plan


def _lay_out(plan: Plan, data: Mapping[str, DataState]) -> Iterator[Cell]:
    """Yields the cells, the classifiers first, because everything else waits for them."""
    suite = plan.suite
    taught = {row.teacher for row in suite.rows if row.name not in plan.unavailable}
    teachers = [row for row in suite.teachers if row.name in taught and "cls" in suite.stages]
    for row in teachers:
        key, stage = _teacher_key(suite, row.name), suite.stages["cls"]
        yield Cell(key, row, stage, data[stage.data], None, None, None)
    for name in [stage for stage in STAGES if stage in suite.stages]:
        stage = suite.stages[name]
        for seed in suite.seeds:
            for row in suite.rows:
                if row.name in plan.unavailable or (name == "cls" and not row.trains_classifier):
                    continue
                needs, checkpoint, teacher = None, None, None
                if name == "cls" and row.teacher is not None:
                    needs = _teacher_key(suite, row.teacher)
                    teacher = plan.run_dir / needs.path / CHECKPOINT_FILE
                elif name != "cls" and row.trains_classifier:
                    needs = CellKey(row.name, "cls", seed)
                    checkpoint = plan.run_dir / needs.path / CHECKPOINT_FILE
                elif name != "cls":
                    checkpoint = row.weights
                key = CellKey(row.name, name, seed)
                yield Cell(key, row, stage, data[stage.data], checkpoint, teacher, needs)


def _teacher_key(suite: Suite, name: str) -> CellKey:
    """Returns the one cell of a teacher, which all students and seeds share."""
    return CellKey(name, "cls", suite.seeds[0])


def inspect_cell(
    folder: Path, planned_identity: str, components: Mapping[str, Any]
) -> tuple[str, str]:
    """Compares what lies in a work dir with what is planned.

    Returns:
        The state and the reason for it.
    """
    stored, result = read_json(folder / "cell.json"), read_json(folder / "result.json")
    if result is None and (folder / "result.json").exists():
        return RUN, "will run again: its result.json cannot be read"
    if stored is None and result is None:
        return RUN, "not run yet"
    earlier = (stored or {}).get("components") or {}
    if result is None:
        if (stored or {}).get("identity") != planned_identity:
            return RUN, f"will start anew: {identity.explain(earlier, components)}"
        failure = read_json(folder / "failure.json")
        if failure is None:
            return RESUME, "was interrupted"
        return RESUME, f"failed before: {failure.get('message')}"
    if result.get("identity") != planned_identity or result.get("status") != "completed":
        return RUN, f"will run again: {identity.explain(earlier, components)}"
    if components["stage"] == "cls" and not (folder / CHECKPOINT_FILE).is_file():
        return RUN, f"will run again: its {CHECKPOINT_FILE} is gone"
    return CACHED, "done"
