"""Make a plan: lay out the runs of a table, mark the selected ones, and find those that are equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.plan.compute import Compute
from benchmarks.plan.digests import Digests
from benchmarks.plan.limits import Limits
from benchmarks.plan.plan import RESUME, RUN, Plan, PlannedRun
from benchmarks.plan.preflight import DataState, available_tricks
from benchmarks.plan.store import RunKey, Store
from benchmarks.suite.load import missing_tricks
from benchmarks.suite.model import Suite
from benchmarks.suite.select import Selection
from contract.errors import UserError
from contract.tasks import SOURCE, TASKS


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
