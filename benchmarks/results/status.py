"""Where each run of a folder stands, read from files that any machine may write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plan.claims import Found
from benchmarks.plan.document import PlanDocument, RunEntry, read_plan
from benchmarks.plan.store import FAILURE_FILE, LOG_FILE, PROGRESS_FILE, RunKey, Store, run_file
from contract.files import read_json
from contract.result import RESULT_FILE
from contract.tasks import SOURCE

DONE = "done"
RUNNING = "running"
LOST = "lost"
QUEUED = "queued"
FAILED = "failed"
STOPPED = "stopped"
WAITING = "waiting"
NEW = "not started"
STATES = (DONE, RUNNING, LOST, QUEUED, FAILED, STOPPED, WAITING, NEW)


@dataclass(frozen=True)
class RunStatus:
    """Where one run stands.

    Attributes:
        key: The run.
        state: One of `STATES`.
        note: What there is to say about it, as a sentence or less.
        owner: Process that trains it, or that did when it was lost; empty in other states.
        job: Its Slurm job; empty if there is none.
        gpu: The GPU that it uses; None for all or none.
        report: Its last progress report.
        heartbeat: Seconds since the owner's last heartbeat; None without an owner.
        seconds: Training time of a run that is done.
        log: The log of a run that failed.
    """

    key: RunKey
    state: str
    note: str = ""
    owner: str = ""
    job: str = ""
    gpu: str | None = None
    report: Mapping[str, Any] | None = None
    heartbeat: float | None = None
    seconds: float | None = None
    log: Path | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing will happen to it without a new command."""
        return self.state in (DONE, FAILED)


@dataclass(frozen=True)
class FolderStatus:
    """Where a run folder stands.

    Attributes:
        plan: Its plan.
        runs: Its runs, in the order of the plan.
    """

    plan: PlanDocument
    runs: tuple[RunStatus, ...]

    def count(self, state: str) -> int:
        """Return how many runs are in a state."""
        return sum(run.state == state for run in self.runs)

    def seconds_left(self) -> float | None:
        """Estimate the time until all runs are done, with as many at a time as now.

        Runs that have not started count as long as the mean of the runs of their task that are done. None if nothing is
        running, or if there is no such run.
        """
        running = [run for run in self.runs if run.state == RUNNING]
        left = []
        for run in self.runs:
            known = (run.report or {}).get("eta_seconds") if run.state == RUNNING else None
            if not isinstance(known, int | float):
                known = self._mean_seconds(run.key.task)
            if run.state not in (DONE, FAILED):
                if known is None:
                    return None
                left.append(float(known))
        return max(sum(left) / len(running), max(left)) if running else None

    def _mean_seconds(self, task: str) -> float | None:
        known = [run.seconds for run in self.runs if run.key.task == task and run.seconds]
        return sum(known) / len(known) if known else None


def read_status(
    run_dir: Path, jobs: Mapping[str, str] | None = None, *, is_certain: bool = True
) -> FolderStatus:
    """Read where the runs of a folder stand.

    Args:
        run_dir: The run folder.
        jobs: Slurm jobs that wait or run, by the folder of their run.
        is_certain: Whether Slurm said so; else they are the jobs that were submitted, and a failure is newer than its
            job.

    Raises:
        UserError: There is no plan, or it cannot be read.
    """
    plan = read_plan(run_dir)
    store = Store(run_dir)
    statuses: dict[str, RunStatus] = {}
    for entry in _sources_first(plan.runs):
        needed = None if entry.needs is None else statuses.get(entry.needs)
        job = (jobs or {}).get(entry.path, "")
        statuses[entry.path] = _status(entry, run_dir, store, needed, job, is_certain)
    return FolderStatus(plan, tuple(statuses[entry.path] for entry in plan.runs))


def _sources_first(runs: Sequence[RunEntry]) -> Iterator[RunEntry]:
    """Yield each run after the one that it needs."""
    by_path = {run.path: run for run in runs}
    seen: set[str] = set()

    def visit(run: RunEntry) -> Iterator[RunEntry]:
        if run.path not in seen:
            seen.add(run.path)
            if run.needs in by_path:
                yield from visit(by_path[str(run.needs)])
            yield run

    for run in runs:
        yield from visit(run)


def _status(
    entry: RunEntry,
    run_dir: Path,
    store: Store,
    needed: RunStatus | None,
    job: str,
    is_certain: bool,
) -> RunStatus:
    key = RunKey(entry.row, entry.task, entry.seed)
    view = run_dir / entry.path
    # The plan knows no identity before the checkpoint exists, but another command may have started the run since.
    identity = entry.identity or run_file(view).get("identity")
    folder = view if identity is None else store.folder(identity)
    done = _result(folder, identity) or _result(view, identity)
    if done is not None:
        seconds = done.get("wall_seconds")
        return RunStatus(key, DONE, seconds=seconds if isinstance(seconds, int | float) else None)
    holder = None if identity is None else store.holder(identity)
    if holder is not None:
        return _held(key, holder, folder)
    failure = read_json(view / FAILURE_FILE) or (identity and read_json(folder / FAILURE_FILE))
    progress = read_json(folder / PROGRESS_FILE) or {} if identity else {}
    if job and (is_certain or not failure):
        note = "in the queue of Slurm" if is_certain else "submitted; squeue does not answer here"
        return RunStatus(key, QUEUED, note, job=job)
    if failure:
        log = view / LOG_FILE
        started = failure.get("exit_status") is not None
        message = str(failure.get("message"))
        return RunStatus(key, FAILED, message, log=log if started and log.is_file() else None)
    if identity and run_file(folder):
        return RunStatus(key, STOPPED, "will resume", report=progress.get("report"))
    if needed is not None and needed.state != DONE:
        source = "teacher" if entry.task == SOURCE else "classifier"
        return RunStatus(key, WAITING, f"its {source} is {needed.state}")
    return RunStatus(key, NEW)


def _result(folder: Path, identity: str | None) -> dict[str, Any] | None:
    """Return the result in a folder if it is complete and of an identity."""
    if identity is None or not (folder / RESULT_FILE).is_file():
        return None
    result = read_json(folder / RESULT_FILE) or {}
    good = result.get("status") == "completed" and result.get("identity") == identity
    return result if good else None


def _held(key: RunKey, holder: Found, folder: Path) -> RunStatus:
    progress = read_json(folder / PROGRESS_FILE) or {}
    state, note = RUNNING, ""
    if holder.is_stale:
        state = LOST
        silent = "has ended" if holder.owner.has_ended() else "does not answer"
        note = f"{holder.owner} {silent}; the next command resumes it"
    return RunStatus(
        key,
        state,
        note,
        owner=str(holder.owner),
        job=holder.owner.job,
        gpu=progress.get("gpu"),
        report=progress.get("report"),
        heartbeat=round(holder.age, 1),
    )
