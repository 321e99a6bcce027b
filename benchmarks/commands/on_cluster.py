"""`run --cluster slurm` submits each run of a suite as a job; `run --only`, which a job calls, trains one run."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from rich.console import Console
from rich.markup import escape

from benchmarks.cluster.jobs import Jobs
from benchmarks.cluster.options import job_words, sbatch_options
from benchmarks.cluster.resources import Estimator, Limits
from benchmarks.cluster.submit import Group, Settings, Submission, Submitter, check_slurm
from benchmarks.commands.request import Request, plan_request, wanted_datasets, wanted_rows
from benchmarks.plan import decoder, preflight
from benchmarks.plan.compute import Ask, Compute, find_compute
from benchmarks.plan.plan import CACHED, RUN, Plan, PlannedRun
from benchmarks.plan.preflight import DataState
from benchmarks.plan.store import FAILURE_FILE, run_file, write_failure
from benchmarks.suite.model import Suite
from contract.errors import UserError
from contract.files import read_json
from contract.tasks import SOURCE

_SECONDS_BETWEEN_LOOKS = 10.0
_MOST_SHOWN = 20


class _Submits(Protocol):
    def submit(self, group: Group, found: Submission) -> None: ...


def submit(options: argparse.Namespace, plan: Plan, console: Console, *, is_certain: bool) -> int:
    """Submit the runs of a plan that are neither done, nor trained by another command, nor in the queue.

    Args:
        options: The command line.
        plan: The plan.
        console: Where to print.
        is_certain: Whether the jobs' device is known, and with it the identities of runs.

    Returns:
        The exit status: 0; 1 if a run could not be submitted.

    Raises:
        UserError: An option is wrong, or jobs cannot be submitted from here.
    """
    settings = Settings(
        options.partition,
        options.account,
        options.qos,
        sbatch_options(options.slurm_args),
        options.signal_seconds,
        options.jobs or Settings.parallel,
    )
    check_slurm()
    device = "cpu" if options.device == "cpu" else "cuda"
    submitter = Submitter(
        plan,
        settings,
        lambda run: job_words(options.words, run.key, str(plan.run_dir), device),
    )
    if not is_certain:
        # Identities of another device would hide results and be written into the plan.
        for run in plan.runs:
            run.identity, run.state, run.is_decided = None, RUN, False
    alive = Jobs(plan.run_dir).alive()
    if alive.problem:
        console.print(f"{alive.problem}; earlier jobs count as in the queue.", soft_wrap=True)
    found = Submission()
    left = list(_left(plan, alive.jobs, found, console))
    least = options.signal_seconds // 60 + 2
    if options.time_limit < least:
        raise UserError(
            f"--time-limit {options.time_limit} minutes leaves no time to train, because a job gets the signal to save "
            f"{options.signal_seconds} seconds before (--signal-seconds); expected at least {least}"
        )
    limits = Limits(
        options.time_limit,
        max(Limits.least_minutes, least),
        options.memory_per_run,
        options.cpus_per_run,
    )
    chosen = _DryRun(submitter, console) if options.dry_run else submitter
    if not options.dry_run:
        plan.write()
    shares = [] if device == "cpu" else options.gpus_per_run or [(False, 1)]
    _submit_in_order(plan, left, dict(alive.jobs), found, Estimator(plan, limits), shares, chosen)
    _summarise(console, plan, found, options)
    return 1 if found.failed else 0


def _left(
    plan: Plan, alive: Mapping[str, str], found: Submission, console: Console
) -> Iterator[PlannedRun]:
    """Yield the runs that need a job."""
    done = queued = 0
    for run in plan.wanted:
        path = run.key.path.as_posix()
        holder = None if run.identity is None else plan.store.holder(run.identity)
        if run.state == CACHED:
            plan.store.show(run.key, str(run.identity))
            done += 1
        elif path in alive:
            queued += 1
        elif holder is not None and not holder.is_stale:
            console.print(f"{run.key}: {holder.owner} trains it.", soft_wrap=True)
        elif run.data.problem is not None:
            write_failure(plan.store.view(run.key), None, run.data.problem)
            found.failed[path] = run.data.problem
        else:
            yield run
    console.print(f"{len(plan.wanted)} runs: {done} done before, {queued} in the queue already.")


def _submit_in_order(
    plan: Plan,
    left: list[PlannedRun],
    jobs: dict[str, str],
    found: Submission,
    estimator: Estimator,
    shares: list[tuple[bool, int]],
    submitter: _Submits,
) -> None:
    """Submit runs after those that they start from, in groups of equal needs.

    Args:
        plan: The plan.
        left: The runs.
        jobs: Jobs in the queue, by the folder of their run.
        found: Receives what becomes of the runs.
        estimator: Gives the resources of jobs.
        shares: GPUs of each run: whether an entry is of teachers only, and the number; empty without GPUs.
        submitter: Submits groups.
    """
    teachers = {row.name for row in plan.suite.teachers}
    while left:
        waiting = {run.key for run in left}
        ready = [run for run in left if run.needs not in waiting and run.twin not in waiting]
        left = [run for run in left if run not in ready]
        groups: dict[tuple[str, str, bool], list[PlannedRun]] = {}
        for run in ready:
            earlier = run.twin or run.needs
            path = None if earlier is None else earlier.path.as_posix()
            if path in found.failed:
                message = f"it was not submitted, because its {run.source} was not"
                write_failure(plan.store.view(run.key), None, message)
                found.failed[run.key.path.as_posix()] = message
                continue
            after = "" if path is None else found.jobs.get(path) or jobs.get(path, "")
            is_teacher = run.key.row in teachers
            # What starts from one classifier waits for that one alone, so such groups are small and mix tasks.
            task = "" if after else run.key.task
            groups.setdefault((after, task, is_teacher), []).append(run)
        for (after, task, is_teacher), runs in sorted(
            groups.items(), key=lambda item: (not item[0][2], item[0][1] != SOURCE)
        ):
            gpus = max((n for only, n in shares if is_teacher or not only), default=0)
            name = f"{plan.suite.name}-{task or runs[0].key.row}"
            submitter.submit(Group(name, tuple(runs), estimator.of(runs, gpus), after), found)


class _DryRun:
    """Shows what would be submitted.

    Args:
        submitter: Writes the scripts.
        console: Where to print.
    """

    def __init__(self, submitter: Submitter, console: Console) -> None:
        self._submitter = submitter
        self._console = console
        self._calls = 0

    def submit(self, group: Group, found: Submission) -> None:
        """Show a group, and the whole script of the first one."""
        self._calls += 1
        if self._calls == 1:
            self._console.print(escape(self._submitter.script(group)), soft_wrap=True)
        name, count = f"call {self._calls}", len(group.runs)
        jobs = [name] if count == 1 else [f"{name}_{index}" for index in range(count)]
        found.groups.append((group, jobs))
        found.jobs |= {
            run.key.path.as_posix(): job for run, job in zip(group.runs, jobs, strict=True)
        }


def _summarise(
    console: Console, plan: Plan, found: Submission, options: argparse.Namespace
) -> None:
    for group, jobs in found.groups[:_MOST_SHOWN]:
        first, last = group.runs[0].key, jobs[-1] if len(jobs) > 1 else ""
        runs = str(first) if len(group.runs) == 1 else f"{len(group.runs)} runs from {first}"
        after = f", after {group.after}" if group.after else ""
        name = f"{jobs[0]} to {last}" if last else jobs[0]
        console.print(escape(f"{name}: {runs} ({group.resources}){after}"), soft_wrap=True)
    more = len(found.groups) - _MOST_SHOWN
    if more > 0:
        console.print(f"… and {more} more calls of sbatch.")
    for path, message in found.failed.items():
        console.print(escape(f"FAILED {path}: {message}"), soft_wrap=True)
    count = f"{len(found.jobs)} runs in {len(found.groups)} calls of sbatch"
    if options.dry_run:
        console.print(f"Would submit {count}.")
        return
    console.print(
        f"Submitted {count}. This command has ended; the jobs go on without it.\n"
        f"Progress: python -m benchmarks status {plan.run_dir}\n"
        f"Table:    python -m benchmarks report {plan.run_dir}\n"
        f"Cancel:   scancel JOB. The same command submits what is neither done nor in the queue.",
        soft_wrap=True,
    )


def plan_for_jobs(
    suite: Suite, request: Request, data: dict[str, DataState], ask: Ask | None
) -> tuple[Plan, bool]:
    """Plan for the device of the jobs, which this machine may not have.

    Returns:
        The plan, and whether the device and its number format are known: those of this machine, or of an earlier job.
    """
    preflight.check_names(suite, request.root, wanted_rows(suite, request.selection))
    specs = {row.backbone for row in (*suite.rows, *suite.teachers)}
    asked = request.selection.device
    here = find_compute(
        specs, request.root, request.cache, ask, "cpu" if asked == "cpu" else "auto"
    )
    if asked == "cpu":
        return plan_request(suite, request, data, here), True
    if here.device == "cuda" and here.problem is None:
        return plan_request(suite, request, data, here), True
    earlier = plan_request(suite, request, data, here)
    dtypes = _dtypes_of_jobs(earlier)
    compute = Compute(
        "cuda", {**here.dtypes, **dtypes}, here.parameters, decoder=_decoder_of_jobs(earlier)
    )
    return plan_request(suite, request, data, compute), bool(dtypes)


def _dtypes_of_jobs(plan: Plan) -> dict[str, str]:
    """Return the number format of each precision as earlier jobs on a GPU have recorded it."""
    found: dict[str, str] = {}
    for run in plan.runs:
        components = run_file(plan.store.view(run.key)).get("components") or {}
        if components.get("device") == "cuda":
            found.setdefault(plan.precision(run), components["dtype"])
    return found


def _decoder_of_jobs(plan: Plan) -> str:
    """Return the decoder of training images as earlier classification jobs on a GPU have recorded it."""
    for run in plan.runs:
        components = run_file(plan.store.view(run.key)).get("components") or {}
        if run.key.task == SOURCE and components.get("device") == "cuda":
            return components.get(decoder.KEY, Compute.decoder)
    return Compute.decoder


def check_input(plan: Plan, run: PlannedRun, console: Console) -> str | None:
    """Return why a run cannot start, because what it starts from is missing; None if it can.

    Another command may be training that. Its job has ended when this one starts, but it may have ended elsewhere.
    """
    if run.needs is None:
        return None
    needed, said = plan.find(run.needs), False
    while True:
        if needed.needs is not None:
            plan.decide(plan.find(needed.needs))
        plan.decide(needed)
        if needed.state == CACHED:
            plan.decide(run)
            return None
        holder = None if needed.identity is None else plan.store.holder(needed.identity)
        if holder is None or holder.is_stale:
            break
        if not said:
            console.print(f"Waiting for {needed.key}: {holder.owner} trains it.", soft_wrap=True)
            said = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    failure = read_json(plan.store.view(needed.key) / FAILURE_FILE) or {}
    why = f": {failure['message']}" if failure.get("message") else ""
    return f"its {run.source} {needed.key} has no result{why}"


def datasets_of(suite: Suite, request: Request, task: str | None) -> list[str]:
    """Return the datasets of one task and of what it starts from; None for all selected tasks."""
    selection = request.selection
    narrowed = selection if task is None else replace(selection, tasks=(task,))
    return wanted_datasets(suite, narrowed)
