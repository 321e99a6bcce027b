"""Which run starts next, and on which GPUs.

List scheduling on the critical path: of the runs that can start, the one with the longest chain of runs behind it
starts first. So teachers come first, then classifiers, then the longest of the others. Runs on more GPUs than others
start before these, because GPUs that become free one after the other would wait for the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.plan.gpus import Watch, whole
from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import CACHED, Plan, PlannedRun
from benchmarks.plan.spread import remaining_chains
from benchmarks.plan.store import RunKey
from benchmarks.run.gpu_locks import GpuLocks
from contract.tasks import TASKS


def with_guesses(plan: Plan, seconds: Mapping[RunKey, float]) -> dict[RunKey, float]:
    """Return the time of each selected run; 0 if it is done.

    A run of unknown time gets the median of its task's known runs, else of all; without any, each gets one second, so
    that the longest chain is the one with the most runs.

    Args:
        plan: The plan.
        seconds: Expected time of each run that is left and whose time is known.
    """
    known: dict[str, list[float]] = {}
    for key, value in seconds.items():
        known.setdefault(key.task, []).append(value)
    every = list(seconds.values()) or [1.0]
    return {
        run.key: 0.0
        if run.state == CACHED
        else seconds.get(run.key, median(known.get(run.key.task, every)))
        for run in plan.wanted
    }


def longest_chains(plan: Plan, seconds: Mapping[RunKey, float]) -> dict[RunKey, float]:
    """Return for each selected run the time of the longest chain that starts with it.

    Args:
        plan: The plan.
        seconds: Time of each run; 0 for those that are done.
    """
    every = {run.key: seconds.get(run.key, 0.0) for run in plan.wanted}
    chains = remaining_chains(every, {run.key: run.needs for run in plan.wanted})
    return {key: sum(every[one] for one in chain) for key, chain in chains.items()}


@dataclass
class _Placed:
    """A run that has started.

    Attributes:
        gpus: Its GPUs; empty for all or none.
        settled: Whether its share of a GPU's memory is known, because it has chosen its passes and made one.
    """

    gpus: tuple[str, ...]
    settled: bool


class Schedule:
    """Chooses the next run and its GPUs.

    A GPU has one run at a time, or several if `--jobs` asks for more runs than GPUs. A run measures the free memory
    before it trains, so another one starts on the same GPU only after its first progress report.

    Args:
        plan: The plan.
        slots: The number of concurrent runs and their resources.
        seconds: Time of each run, as `with_guesses` returns it.
        watch: Tells which GPUs other processes occupy; None uses them all.
        locks: Keeps other commands from the GPUs of this one; unused without `watch`.
        warn: Called with a run that has to wait for GPUs, and the reason.
    """

    def __init__(
        self,
        plan: Plan,
        slots: Slots,
        seconds: Mapping[RunKey, float],
        watch: Watch | None = None,
        warn: Callable[[RunKey, str], None] = lambda key, text: None,
        locks: GpuLocks | None = None,
    ) -> None:
        self._locks = locks or GpuLocks()
        self._slots, self._watch, self._warn = slots, watch, warn
        self._chains = longest_chains(plan, seconds)
        self._position = {run.key: position for position, run in enumerate(plan.runs)}
        self._placed: dict[RunKey, _Placed] = {}
        self._held = False
        self._warned: set[str] = set()

    def order(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Return runs in the order in which they should start; equal ones keep the order of the plan."""

        def urgency(run: PlannedRun) -> tuple[float, ...]:
            return -run.processes, -self._chains.get(run.key, 0.0), self._position[run.key]

        return sorted(runs, key=urgency)

    def begin_round(self) -> None:
        """Start to offer runs anew, in their order."""
        self._held = False
        self._give_back()

    def find_place(self, run: PlannedRun) -> tuple[str, ...] | None:
        """Return the GPUs on which a run can start now, () if it needs none; None if it has to wait.

        If a run waits for GPUs that runs before it will give back, the runs behind it wait too. Otherwise short runs
        on one GPU each could keep a run on several from starting.
        """
        if self._held or len(self._placed) >= self._slots.jobs:
            return None
        if not self._slots.gpus:
            return ()
        gpus = self._slots.gpus if run.processes == 1 else whole(self._slots.gpus)
        occupied = self._occupied(run, gpus)
        usable = [gpu for gpu in gpus if gpu not in occupied]
        free = sorted(filter(self._has_room, usable), key=lambda gpu: len(self._on(gpu)))
        chosen, refused = [], []
        for gpu in free:
            if len(chosen) < run.processes:
                (chosen if self._take(run, gpu) else refused).append(gpu)
        if len(chosen) == run.processes:
            return tuple(chosen)
        self._give_back()
        self._held = len(usable) - len(refused) >= run.processes
        return None

    def start(self, run: PlannedRun, gpus: tuple[str, ...]) -> None:
        """Note that a run has started."""
        self._placed[run.key] = _Placed(gpus, settled=not TASKS[run.key.task].trains)

    def progressed(self, key: RunKey) -> None:
        """Note that a run has reported progress; may be called from any thread."""
        placed = self._placed.get(key)
        if placed is not None:
            placed.settled = True

    def end(self, key: RunKey) -> None:
        """Note that a run has ended."""
        del self._placed[key]
        self._give_back()
        if self._watch is not None:
            self._watch.forget()

    def _on(self, gpu: str) -> list[_Placed]:
        return [placed for placed in self._placed.values() if gpu in placed.gpus]

    def _has_room(self, gpu: str) -> bool:
        there = self._on(gpu)
        return len(there) < self._slots.runs_per_gpu and all(placed.settled for placed in there)

    def _take(self, run: PlannedRun, gpu: str) -> bool:
        if self._watch is None or self._locks.take(gpu):
            return True
        if gpu not in self._warned:
            self._warned.add(gpu)
            self._warn(run.key, f"GPU {gpu} is used by another command of yours")
        return False

    def _give_back(self) -> None:
        """Give back the GPUs of runs that have ended, or that were given a place and did not start."""
        self._locks.keep({gpu for placed in self._placed.values() for gpu in placed.gpus})

    def _occupied(self, run: PlannedRun, gpus: Sequence[str]) -> Mapping[str, str]:
        if self._watch is None:
            return {}
        idle = [gpu for gpu in gpus if not self._on(gpu)]
        occupied = self._watch.occupied(idle)
        for gpu, reason in occupied.items():
            if self._watch.is_news(gpu):
                self._warn(run.key, f"no run starts on GPU {gpu} for now: {reason}")
        return occupied
