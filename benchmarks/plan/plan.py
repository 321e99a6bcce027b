"""The plan: all runs of a suite's table, with the state of each and its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plan import claims, identity
from benchmarks.plan.compute import Compute
from benchmarks.plan.digests import Digests
from benchmarks.plan.document import (
    PLAN_FILE,
    PlanDocument,
    RowEntry,
    RowTaskEntry,
    RunEntry,
    TaskEntry,
)
from benchmarks.plan.limits import KEY, Limits
from benchmarks.plan.preflight import DataState, available_tricks
from benchmarks.plan.store import FAILURE_FILE, RunKey, Store, identity_in, is_complete, run_file
from benchmarks.plan.union import earlier_plan, united
from benchmarks.suite.load import missing_tricks
from benchmarks.suite.model import Row, Suite, TaskSetup
from benchmarks.suite.select import Selection
from contract.errors import UserError
from contract.files import read_json, write_text
from contract.result import CHECKPOINT_FILE, RESULT_FILE
from contract.settings import package_versions
from contract.tasks import SOURCE, TASKS

# States of a run.
CACHED = "cached"
RUN = "run"
RESUME = "resume"
WAITS = "waits"


@dataclass
class PlannedRun:
    """One row × task × seed, with its state.

    Attributes:
        key: Its name and folder.
        row: Its row.
        setup: How the suite runs the task.
        data: The dataset.
        needs: The run that writes its initial checkpoint or its teacher's.
        wanted: Whether the command selects it; the table includes it in any case.
        processes: Number of processes that train it together.
        components: The components of the identity; None while they are not known.
        identity: Hash of `components`.
        state: CACHED, RUN, RESUME or WAITS.
        reason: Explanation of the state.
        twin: An earlier unfinished run of the plan with the same identity; the two are trained once.
        checkpoint: The initial checkpoint; None for random weights, or while it is not known.
        teacher: The checkpoint of its teacher.
        is_decided: Whether state and identity were set from files; of other runs, `plan.json` keeps what it says.
    """

    key: RunKey
    row: Row
    setup: TaskSetup
    data: DataState
    needs: RunKey | None
    wanted: bool = True
    processes: int = 1
    components: Mapping[str, Any] | None = None
    identity: str | None = None
    state: str = RUN
    reason: str = ""
    twin: RunKey | None = None
    checkpoint: Path | None = None
    teacher: Path | None = None
    is_decided: bool = False

    @property
    def tricks(self) -> tuple[str, ...]:
        """All tricks of the task, in order, without those of the recipe."""
        return (*self.setup.tricks, *self.row.of(self.key.task).tricks)

    @property
    def lr_factor(self) -> float:
        """Factor on the learning rate of the task's config."""
        return self.row.of(self.key.task).lr

    @property
    def source(self) -> str:
        """The role of `needs` for this run."""
        return "teacher" if self.key.task == SOURCE else "classifier"


@dataclass
class Plan:
    """The runs of a suite's table.

    Attributes:
        suite: The whole table's suite, as `select` returns it.
        selection: The selected runs and settings.
        root: The repository.
        run_dir: The run folder.
        compute: The device of the runs.
        unavailable: Reasons why this version cannot run a row, by row.
        store: The store of the runs' work dirs.
        limits: Images of a forward pass that the device's memory allows.
        digests: Digests of checkpoints.
        runs: All runs; each is listed after the run that it needs.
    """

    suite: Suite
    selection: Selection
    root: Path
    run_dir: Path
    compute: Compute
    unavailable: Mapping[str, str]
    store: Store
    limits: Limits
    digests: Digests
    runs: list[PlannedRun] = field(default_factory=list)
    _by_key: dict[RunKey, PlannedRun] = field(default_factory=dict)

    def add(self, run: PlannedRun) -> None:
        """Add a run."""
        self.runs.append(run)
        self._by_key[run.key] = run

    def find(self, key: RunKey) -> PlannedRun:
        """Return the run with this key."""
        return self._by_key[key]

    @property
    def wanted(self) -> list[PlannedRun]:
        """The runs that the command selects, and those that they need."""
        return [run for run in self.runs if run.wanted]

    def work_dir(self, run: PlannedRun) -> Path:
        """Return a run's work dir, in the store."""
        return self.store.folder(str(run.identity))

    def result_dir(self, run: PlannedRun) -> Path:
        """Return the folder of a run's files: its work dir, or its view in a run folder without a store."""
        folder, view = self.work_dir(run), self.store.view(run.key)
        return view if not folder.is_dir() and identity_in(view) == run.identity else folder

    def decide(self, run: PlannedRun) -> None:
        """Set a run's identity, state and reason from the current files."""
        run.components = run.identity = None
        run.is_decided = True
        if run.needs is not None:
            needed = self.find(run.needs)
            if needed.state != CACHED:
                run.state, run.reason = WAITS, f"waits for its {run.source}"
                return
            file = self.result_dir(needed) / CHECKPOINT_FILE
            if run.key.task == SOURCE:
                run.teacher = file
            else:
                run.checkpoint = file
        if run.checkpoint is not None and not run.checkpoint.is_file():
            published = "its published weights are fetched first"
            missing = f"there is no checkpoint {run.checkpoint}"
            run.state, run.reason = RUN, published if run.row.published else missing
            return
        fingerprint = self._fingerprint(run)
        if fingerprint is None and run.data.problem is None:
            run.state, run.reason = RUN, "its data are generated first"
            return
        # Data with a problem have no fingerprint, so no earlier result has the same identity.
        run.components = self._components(run, fingerprint)
        run.identity = identity.identity_of(run.components)
        if run.data.problem is not None and fingerprint is None:
            run.state, run.reason = RUN, run.data.problem
            return
        run.state, run.reason = self._inspect(run, run.components)

    def _inspect(self, run: PlannedRun, components: Mapping[str, Any]) -> tuple[str, str]:
        """Compare the files in the store and in the run folder with the plan."""
        folder, view = self.result_dir(run), self.store.view(run.key)
        problem = is_complete(folder, makes_checkpoint=run.key.task == SOURCE)
        if problem is not None:
            return (RUN, f"will run again: {problem}") if problem else (CACHED, "done")
        if folder != view and run_file(folder):
            failure = read_json(folder / FAILURE_FILE)
            if failure is None:
                return RESUME, "was interrupted"
            return RESUME, f"failed before: {failure.get('message')}"
        earlier = run_file(view)
        if not earlier and not (view / RESULT_FILE).exists():
            return RUN, "not run yet"
        if earlier.get("identity") == run.identity:
            return RUN, "will start anew: its files in the store are gone"
        verb = "will run again" if (view / RESULT_FILE).exists() else "will start anew"
        return RUN, f"{verb}: {identity.explain(earlier.get('components') or {}, components)}"

    def _fingerprint(self, run: PlannedRun) -> str | None:
        """Return the fingerprint of a run's data; of missing data of a run that is not selected, an earlier one."""
        if run.data.fingerprint is not None or run.wanted:
            return run.data.fingerprint
        earlier = run_file(self.store.view(run.key)).get("components") or {}
        return earlier.get("dataset")

    def _components(self, run: PlannedRun, fingerprint: str | None) -> dict[str, Any]:
        row, setup, task = run.row, run.setup, run.key.task
        limit = self.limits.of(row.name, task)

        return {
            "task": task,
            "backbone": row.backbone,
            "seed": run.key.seed,
            "budget": self.selection.budget,
            "device": self.compute.device,
            "dtype": self.compute.dtype(self.precision(run)),
            "config": dict(identity.config_chain(self.root / setup.config, self.root)),
            "recipe": identity.recipe_components(task, row.of(task).recipe, run.tricks, self.root),
            "tricks": list(run.tricks),
            "overrides": identity.overrides(setup.overrides),
            "dataset": fingerprint,
            "checkpoint": self.digests.of(run.checkpoint) if run.checkpoint else None,
            "teacher": self.digests.of(run.teacher) if run.teacher else None,
            "code": {**identity.task_code(task, self.root), **identity.own_code(row.backbone)},
            "packages": dict(package_versions()),
            # The defaults are absent, so that they give the same identity as no option.
            **({} if run.lr_factor == 1 else {"lr_factor": run.lr_factor}),
            # Sums in another order, and with some networks batch statistics of other images.
            **({} if run.processes == 1 else {"processes": run.processes}),
            # Absent unless memory demands other batch statistics than the published ones.
            **({KEY: limit.images} if limit is not None and limit.changes_numbers else {}),
            **({"deterministic": True} if self.selection.deterministic else {}),
        }

    def precision(self, run: PlannedRun) -> str:
        """Return the requested precision of a run."""
        return run.row.precision or self.selection.precision

    def write(self) -> None:
        """Write `plan.json`, which describes the whole table, with what other commands have added to it."""
        with claims.hold(self.run_dir / claims.CLAIMS / "plan"):
            earlier = earlier_plan(self.run_dir, self.suite.name, self.selection.budget)
            undecided = {run.key.path.as_posix() for run in self.runs if not run.is_decided}
            document = united(self.document(), earlier, undecided)
            if document != earlier:
                # Many times faster than Python's indenting encoder, which counts with a thousand runs.
                text = document.model_dump_json(indent=1) + "\n"
                write_text(self.run_dir / PLAN_FILE, text)

    def document(self) -> PlanDocument:
        """Return the content of `plan.json`."""
        suite = self.suite
        return PlanDocument(
            suite=suite.name,
            title=suite.title,
            description=suite.description,
            budget=self.selection.budget,
            precision=self.selection.precision,
            seeds=suite.seeds,
            columns=suite.columns,
            intended=suite.intended,
            tasks={
                name: TaskEntry(
                    config=setup.config,
                    data=self._shown(suite.datasets[setup.data].path),
                    kind=suite.datasets[setup.data].kind,
                    overrides={key: repr(value) for key, value in setup.overrides.items()},
                    tricks=setup.tricks,
                )
                for name, setup in suite.tasks.items()
            },
            rows=tuple(self._row_entry(row) for row in suite.rows),
            teachers=tuple(self._row_entry(row) for row in suite.teachers),
            runs=tuple(
                RunEntry(
                    row=run.key.row,
                    task=run.key.task,
                    seed=run.key.seed,
                    path=run.key.path.as_posix(),
                    identity=run.identity,
                    needs=None if run.needs is None else run.needs.path.as_posix(),
                )
                for run in self.runs
            ),
        )

    def _row_entry(self, row: Row) -> RowEntry:
        return RowEntry(
            name=row.name,
            backbone=row.backbone,
            pretrain=row.pretrain,
            tasks={name: RowTaskEntry(**given.model_dump()) for name, given in row.tasks.items()},
            precision=row.precision,
            weights=None if row.weights is None else self._shown(row.weights),
            published=row.published,
            reference=row.reference,
            note=row.note,
            unavailable=self.unavailable.get(row.name),
            parameters=self.compute.parameters.get(row.backbone),
            added=row.added,
        )

    def _shown(self, path: Path) -> str:
        """Return a path that is valid on another machine, if possible."""
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()


def make_plan(
    suite: Suite,
    selection: Selection,
    data: Mapping[str, DataState],
    *,
    root: Path,
    run_dir: Path,
    compute: Compute | None = None,
    only: RunKey | None = None,
) -> Plan:
    """Create the runs of a table and decide the state of each.

    Args:
        suite: The whole table's suite, as `select` returns it.
        selection: The selected runs and settings.
        data: The state of each dataset, by name.
        root: The repository.
        run_dir: The run folder.
        compute: The device of the runs.
        only: The only run to select and decide, with those that it starts from; None for the selection's.

    Raises:
        UserError: There is nothing to run.
    """
    tricks = available_tricks(root)
    unavailable = {
        row.name: f"not available: trick {', '.join(missing)} is not in this version"
        for row in suite.rows
        if (missing := missing_tricks(row, tricks))
    }
    plan = Plan(
        *(suite, selection, root, run_dir, compute or Compute(), unavailable, Store(run_dir)),
        limits=Limits(run_dir),
        digests=Digests(root / "runs" / ".cache" / "digests.json"),
    )
    for run in _lay_out(plan, data):
        plan.add(run)
    # Classifiers come first, so iterate in reverse to mark what a wanted run needs.
    for run in reversed(plan.runs):
        if run.wanted and run.needs is not None:
            plan.find(run.needs).wanted = True
    if not plan.wanted:
        reasons = [f"{name}: {why}" for name, why in unavailable.items()] or ["no run is left"]
        raise UserError(
            f"There is nothing to run: {'; '.join(reasons)}. Choose other rows or tasks; rows "
            f"without pretraining have no {TASKS[SOURCE].label}."
        )
    chain = _chain(plan, only)
    for run in plan.runs:
        if chain is None or run.key in chain:
            plan.decide(run)
        if chain is not None:
            run.wanted = run.key == only
    plan.digests.save()
    _find_twins(plan)
    return plan


def _chain(plan: Plan, key: RunKey | None) -> set[RunKey] | None:
    """Return a run and those that it starts from; None for None.

    Raises:
        UserError: The plan has no such run.
    """
    if key is None:
        return None
    needs = {run.key: run.needs for run in plan.runs}
    if key not in needs:
        raise UserError(f"--only names {key}, which is no run of suite {plan.suite.name}.")
    chain = {key}
    while (key := needs[key]) is not None:
        chain.add(key)
    return chain


def _find_twins(plan: Plan) -> None:
    first: dict[str, PlannedRun] = {}
    for run in plan.wanted:
        if run.state in (RUN, RESUME) and run.identity is not None:
            twin = first.setdefault(run.identity, run)
            if twin is not run:
                run.twin, run.reason = twin.key, f"once, as {twin.key}"


def _lay_out(plan: Plan, data: Mapping[str, DataState]) -> Iterator[PlannedRun]:
    """Yield the runs, classifiers first, because all others wait for them."""
    suite = plan.suite
    available = [row for row in suite.rows if row.name not in plan.unavailable]
    named = {row.teacher for row in available}
    if SOURCE in suite.tasks:
        setup = suite.tasks[SOURCE]
        for row in suite.teachers:
            if row.name in named:
                key = RunKey(row.name, SOURCE, suite.teacher_seed)
                processes = plan.selection.teacher_processes or plan.selection.processes
                yield PlannedRun(key, row, setup, data[setup.data], None, False, processes)
    for task, setup in suite.tasks.items():
        for seed in suite.seeds:
            for row in available:
                if task == SOURCE and not row.trains_classifier:
                    continue
                key, needs = RunKey(row.name, task, seed), None
                if task == SOURCE and row.teacher is not None:
                    needs = RunKey(row.teacher, SOURCE, suite.teacher_seed)
                elif task != SOURCE and row.trains_classifier:
                    needs = RunKey(row.name, SOURCE, seed)
                run = PlannedRun(key, row, setup, data[setup.data], needs)
                run.wanted = plan.selection.wants(row.name, task, seed)
                run.processes = plan.selection.processes if TASKS[task].trains else 1
                run.checkpoint = None if task == SOURCE else row.weights
                yield run
