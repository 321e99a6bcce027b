"""Unite the plans of several commands that work in one run folder at the same time."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from benchmarks.plan.document import PLAN_FILE, PlanDocument, read_plan
from contract.errors import UserError


def earlier_plan(run_dir: Path, suite: str, budget: str) -> PlanDocument | None:
    """Return the plan in a run folder; None if there is none of this suite and budget, or if it is damaged."""
    if not (run_dir / PLAN_FILE).is_file():
        return None
    try:
        earlier = read_plan(run_dir)
    except UserError:
        return None  # it will be written again
    return earlier if (earlier.suite, earlier.budget) == (suite, budget) else None


def united(
    own: PlanDocument, earlier: PlanDocument | None, undecided: Collection[str] = ()
) -> PlanDocument:
    """Return a plan with the added rows and the seeds that another command has written since this one started.

    Args:
        own: The plan of this command.
        earlier: The plan in the run folder; None if there is none.
        undecided: Folders of runs of which this command knows no identity; they keep the earlier one.
    """
    if earlier is None:
        return own
    names = {row.name for row in own.rows}
    rows = own.rows + tuple(row for row in earlier.rows if row.added and row.name not in names)
    known = {row.name for row in (*rows, *own.teachers)}
    identities = {run.path: run.identity for run in earlier.runs}
    runs = [
        run.model_copy(update={"identity": identities.get(run.path)})
        if run.path in undecided
        else run
        for run in own.runs
    ]
    paths = {run.path for run in own.runs}
    # Of rows that a suite no longer has, and of rows that this version cannot run, no run is kept.
    kept = {row.name for row in rows if row.unavailable is None} & known
    runs += [
        run
        for run in earlier.runs
        if run.path not in paths and run.row in kept and run.task in own.tasks
    ]
    seeds = tuple(sorted({*own.seeds, *earlier.seeds}))
    return own.model_copy(update={"rows": rows, "seeds": seeds, "runs": tuple(runs)})
