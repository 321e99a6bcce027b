"""Execute a plan with concurrent runs, each in a separate process.

A failed run is reported, dependent runs are skipped, and all others continue.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.plan.claims import Found
from benchmarks.plan.estimate import expected_seconds
from benchmarks.plan.gpus import Watch
from benchmarks.plan.limits import KEY, Limit, reported
from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import CACHED, RESUME, Plan, PlannedRun
from benchmarks.plan.store import (
    FAILURE_FILE,
    LOG_FILE,
    RUN_FILE,
    RunKey,
    run_file,
    write_failure,
)
from benchmarks.plan.timings import Timings
from benchmarks.published import curves
from benchmarks.run.beacon import Beacon
from benchmarks.run.command import CommandBuilder, task_command
from benchmarks.run.display import Display, format_seconds
from benchmarks.run.ending import failure_message, headline, without_launcher
from benchmarks.run.launcher import Launchers
from benchmarks.run.outcome import COMPLETED, FAILED, SKIPPED, STOPPED, Outcome
from benchmarks.run.place import environment, place
from benchmarks.run.process import TaskProcess, caught_signals, terminate
from benchmarks.run.running import Running
from benchmarks.run.schedule import Schedule, with_guesses
from benchmarks.run.stopping import Ending, Interrupted, Stopping, stopped_message
from benchmarks.run.times import Times
from contract.command_line import STOPPED_REPORT
from contract.files import read_json, write_json
from contract.result import RESULT_FILE

_POLL_SECONDS = 0.05
_SECONDS_BETWEEN_TRIES = 1.0


class Runner:
    """Executes a plan.

    `is_stopped` says whether the time was over before all runs had ended.

    Args:
        plan: The plan; states and identities of its runs are filled in as they become known.
        slots: The number of concurrent runs and their resources.
        display: Where progress is shown.
        timings: The store of finished runs' costs.
        build_command: Returns a run's command line.
        fail_fast: End at the first failure.
        ending: When and how tasks are asked to end.
        watch: Tells which GPUs other processes occupy; None uses them all.
        times: Where the times of the runs are noted.
    """

    def __init__(
        self,
        plan: Plan,
        slots: Slots,
        display: Display,
        timings: Timings,
        *,
        build_command: CommandBuilder = task_command,
        fail_fast: bool = False,
        ending: Ending | None = None,
        watch: Watch | None = None,
        times: Times | None = None,
    ) -> None:
        self.outcomes: dict[RunKey, Outcome] = {}
        self.is_stopped = False
        self._plan = plan
        self._slots = slots
        self._display = display
        self._timings = timings
        self._build_command = build_command
        self._fail_fast = fail_fast
        self._ending = Ending() if ending is None else ending
        # Runs that reported that they were asked to stop.
        self._said_stopped: set[RunKey] = set()
        seconds = with_guesses(plan, expected_seconds(plan, slots.threads))
        self._schedule = Schedule(plan, slots, seconds, watch, display.warned)
        self._times = Times() if times is None else times
        self._running: dict[RunKey, Running] = {}
        # Images of a pass that would fit, reported by runs whose passes did not.
        self._reported: dict[RunKey, Limit] = {}
        self._retried: set[RunKey] = set()
        self._again: list[PlannedRun] = []
        # When to retry a run that another harness is training.
        self._next_try: dict[RunKey, float] = {}

    def run(self) -> list[Outcome]:
        """Execute all selected runs that are not finished.

        Returns:
            The outcome of each selected run, in the order of the plan; after `fail_fast` or a stop, of those that
            ended.

        Raises:
            Interrupted: Ctrl-C or SIGTERM, after the tasks have ended.
            OSError: The run folder cannot be written, for example because the disk is full.
        """
        self._plan.write()
        self._show_others()
        pending = []
        for run in self._plan.wanted:
            if run.state == CACHED:
                self._end_cached(run)
            else:
                pending.append(run)
        pending = self._schedule.order(pending)
        self._launchers = Launchers(
            self._plan.root,
            environment(self._plan, self._slots.threads, None),
            Counter(run.key.task for run in pending),
        )
        with caught_signals() as signals:
            stopping = Stopping(signals, self._ending.at)
            try:
                while pending or self._running or self._again:
                    if stopping.interruptions:
                        raise Interrupted
                    if stopping.is_due:
                        self._stop(stopping)
                        break
                    pending, self._again = [*self._again, *pending], []
                    self._schedule.begin_round()
                    pending = [run for run in pending if not self._take(run)]
                    if not self._collect():
                        time.sleep(_POLL_SECONDS)
                    if self._fail_fast and self._failures():
                        break
            finally:
                self._ending.end(self._running.values(), lambda: stopping.interruptions > 1)
                for key, running in self._running.items():
                    running.lock.close()
                    self._schedule.end(key)
                self._launchers.close()
        self._show_others(decide=True)
        self._plan.write()
        return [self.outcomes[r.key] for r in self._plan.wanted if r.key in self.outcomes]

    def _stop(self, stopping: Stopping) -> None:
        self.is_stopped = True
        self._ending.end(self._running.values(), lambda: stopping.interruptions > 0)
        self._collect()

    def _show_others(self, *, decide: bool = False) -> None:
        """Update the views of finished runs in the table that the command did not select."""
        for run in self._plan.runs:
            if run.wanted:
                continue
            if decide and run.is_decided:
                self._plan.decide(run)
            if run.state == CACHED:
                self._plan.store.show(run.key, str(run.identity))

    def _failures(self) -> bool:
        return any(outcome.status == FAILED for outcome in self.outcomes.values())

    def _take(self, run: PlannedRun) -> bool:
        """Start a run, or settle it without starting it; return False if it has to wait."""
        if run.needs is not None:
            needed = self.outcomes.get(run.needs)
            if needed is None:
                return False
            if needed.status == STOPPED:
                self._end(run, STOPPED, f"not started: its {run.source} was stopped")
                return True
            if needed.status not in (CACHED, COMPLETED):
                reason = "failed" if needed.status == FAILED else "was skipped"
                self._settle(run, SKIPPED, f"skipped: its {run.source} {reason}")
                return True
        self._times.ready(run.key)
        if time.monotonic() < self._next_try.get(run.key, 0.0):
            return False
        gpus = self._schedule.find_place(run)
        if gpus is None:
            return False
        self._plan.decide(run)
        if any(run.identity == other.run.identity for other in self._running.values()):
            # An equal run of another row; both share its result.
            return False
        if run.state == CACHED:
            self._plan.write()
            self._end_cached(run)
        elif run.data.problem is not None:
            self._settle(run, FAILED, run.data.problem)
        elif run.identity is None:
            self._settle(run, FAILED, f"it cannot start: {run.reason}")
        else:
            return self._start(run, run.identity, gpus)
        return True

    def _settle(self, run: PlannedRun, status: str, message: str) -> None:
        """Settle a run that was never started. An earlier result is kept, because it may be valid again later."""
        write_failure(self._plan.store.view(run.key), None, message)
        self._end(run, status, message)

    def _start(self, run: PlannedRun, identity: str, gpus: tuple[str, ...]) -> bool:
        """Start a run's process, unless another harness is training its identity."""
        plan, store = self._plan, self._plan.store
        lock = store.lock(identity)
        if lock is None:
            self._wait_for_other(run, store.holder(identity))
            return False
        # The other harness may have finished between the check and the lock.
        plan.decide(run)
        folder = plan.work_dir(run)
        if run.state == CACHED:
            lock.close()
            self._end_cached(run)
            return True
        waited = self._next_try.pop(run.key, None) is not None
        if waited and (failure := read_json(folder / FAILURE_FILE)):
            lock.close()
            store.show(run.key, identity)
            self._end(run, FAILED, f"{failure.get('message')} (in the other command)")
            return True
        threads = self._slots.threads
        command = self._build_command(plan, run)
        if run.state == RESUME:
            # The same number of threads as before, which keeps the order of sums.
            threads = run_file(folder).get("threads", threads)
            command.append("--resume")
        else:
            store.set_aside(run.key, identity)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        document = {
            "identity": identity,
            "components": run.components,
            "command": command,
            "threads": threads,
        }
        write_json(folder / RUN_FILE, document)
        plan.write()
        gpu = ",".join(gpus) or None
        self._schedule.start(run, gpus)
        self._times.started(run.key)
        beacon = Beacon(folder, gpu)
        process = TaskProcess(
            command,
            log=folder / LOG_FILE,
            cwd=plan.root,
            environment=environment(plan, threads, gpu),
            on_progress=lambda report: self._report(run, report, beacon),
            launchers=self._launchers,
        )
        self._running[run.key] = Running(run, process, lock, beacon)
        store.show(run.key, identity)
        verb = "goes on" if run.state == RESUME else "started"
        self._display.started(run.key, f"{verb} {place(plan, run, gpu)}: {run.reason}")
        return True

    def _wait_for_other(self, run: PlannedRun, holder: Found | None) -> None:
        if run.key not in self._next_try:
            who = "" if holder is None else f" ({holder.owner})"
            self._display.warned(run.key, f"another command{who} trains the same; waiting for it")
        self._next_try[run.key] = time.monotonic() + _SECONDS_BETWEEN_TRIES

    def _report(self, run: PlannedRun, report: Mapping[str, Any], beacon: Beacon) -> None:
        """Show the progress of a run, and warn if a validation is behind all published curves."""
        limit = reported(report)
        if limit is not None:
            self._reported[run.key] = limit
        elif STOPPED_REPORT in report:
            self._said_stopped.add(run.key)
        elif "best" not in report:
            self._schedule.progressed(run.key)
            self._display.progressed(run.key, report)
            beacon.report(report)
        elif self._plan.selection.budget == "full" and run.lr_factor == 1:
            sentence = curves.validation_warning(run.row.backbone, run.row.tricks, report)
            if sentence is not None:
                self._display.warned(run.key, sentence)

    def _collect(self) -> bool:
        """Settle the runs that have ended; return whether there were any."""
        ended = []
        for key, running in self._running.items():
            status = running.process.poll()
            if status is not None or running.lock.is_lost:
                ended.append((key, status))
        for key, status in ended:
            running = self._running.pop(key)
            self._schedule.end(key)
            self._times.ended(key, self._plan.work_dir(running.run))
            if status is not None and running.lock.is_held():
                self._finish(running, status)
            else:
                self._leave_to_other(running)
            running.lock.close()
        return bool(ended)

    def _leave_to_other(self, running: Running) -> None:
        """End the task of a run that another harness took over while this one did not answer."""
        terminate([running.process], 0.0, lambda: True)
        text = "ended here: another command took it over, because this one did not answer"
        self._display.warned(running.run.key, text)
        self._again.append(running.run)

    def _finish(self, running: Running, status: int) -> None:
        run, process = running.run, running.process
        folder, identity = self._plan.work_dir(run), str(run.identity)
        status, tail = without_launcher(status, process.tail())
        result = read_json(folder / RESULT_FILE)
        took = format_seconds(process.seconds)
        if result is None or result.get("status") != "completed":
            reported = run.key in self._said_stopped
            if stopped := stopped_message(status, asked=self.is_stopped, reported=reported):
                self._plan.store.show(run.key, identity)
                self._end(run, STOPPED, stopped, f"after {took}: {stopped}")
                return
            message = failure_message(status, tail)
        elif result.get("identity") != identity:
            message = "the task wrote a result.json of another identity than it was given"
            # It would be invalid and block a new result.
            (folder / RESULT_FILE).unlink()
        else:
            if self._is_outdated(run):
                self._repeat(run)
                return
            # The result is written last, so it is valid even if the process failed afterwards.
            late = f" (exit status {status} after its result)" if status else ""
            run.state = CACHED
            running.beacon.remove()
            self._plan.store.show(run.key, identity)
            self._timings.record(run, self._plan.selection.budget, result, process.seconds)
            self._end(run, COMPLETED, "", f"done in {took}{headline(result)}{late}")
            return
        write_failure(folder, status, message, tail)
        if self._try_smaller_passes(run, message):
            return
        self._plan.store.show(run.key, identity)
        self._end(run, FAILED, message, f"failed after {took}: {message}")

    def _try_smaller_passes(self, run: PlannedRun, message: str) -> bool:
        """Schedule a run once more, with the images of a pass that fit the device; return whether that is possible."""
        limit = self._reported.pop(run.key, None)
        # The user's own setting is never changed.
        if limit is None or run.key in self._retried or KEY in run.setup.overrides:
            return False
        self._retried.add(run.key)
        self._plan.limits.set(run.key.row, run.key.task, limit)
        self._again.append(run)
        self._display.warned(run.key, f"{message}. It starts again with {KEY}={limit.images}")
        if limit.changes_numbers:
            self._train_alike(run.key)
        return True

    def _train_alike(self, key: RunKey) -> None:
        """Repeat what is done of a row's task under other batch statistics, and what was trained from it."""
        done = [run for run in self._plan.wanted if self._is_done(run.key)]
        outdated = {run.key for run in done if (run.key.row, run.key.task) == (key.row, key.task)}
        while more := {run.key for run in done if run.needs in outdated} - outdated:
            outdated |= more
        for run in done:
            if run.key in outdated:
                del self.outcomes[run.key]
                self._repeat(run)

    def _is_done(self, key: RunKey) -> bool:
        return key in self.outcomes and self.outcomes[key].status in (CACHED, COMPLETED)

    def _is_outdated(self, run: PlannedRun) -> bool:
        """Return whether other passes were chosen for a run, or for its classifier, while it was training."""
        limit = self._plan.limits.of(run.key.row, run.key.task)
        images = limit.images if limit is not None and limit.changes_numbers else None
        if images != (run.components or {}).get(KEY):
            return True
        return run.needs is not None and not self._is_done(run.needs)

    def _repeat(self, run: PlannedRun) -> None:
        self._again.append(run)
        self._display.warned(run.key, "repeated, so that all seeds have equal batch statistics")

    def _end_cached(self, run: PlannedRun) -> None:
        self._plan.store.show(run.key, str(run.identity))
        self._end(run, CACHED, f"done before, identity {str(run.identity)[:8]}")

    def _end(self, run: PlannedRun, status: str, message: str, text: str | None = None) -> None:
        good = status in (CACHED, COMPLETED)
        self.outcomes[run.key] = Outcome(run.key, status, "" if good else message)
        shown = text or (f"failed: {message}" if status == FAILED else message)
        self._display.ended(run.key, shown, good=good)
