"""Where the time of a run goes: the phases that a task measures and the harness sums up.

A task writes them to `timing.json` in its work dir before its result. They belong to the process that finished the run;
no number of a result depends on them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract.files import read_json, write_json

TIMING_FILE = "timing.json"
# In the order in which a run goes through them.
PREPARING, ESTIMATES, TRAINING, VALIDATION, WRITING, COSTS = PHASES = (
    "preparing",
    "estimates",
    "training",
    "validation",
    "writing",
    "costs",
)


class PhaseClock:
    """Divides the seconds of a process among phases; the seconds of an inner phase are not those of the outer one."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin with the first phase."""
        self.began = time.time()
        self._since = _now()
        self._seconds: dict[str, tuple[float, ...]] = dict.fromkeys(PHASES, (0.0, 0.0))
        self._open = [PREPARING]

    def enter(self, phase: str) -> None:
        """Begin a phase within the present one."""
        self._stop()
        self._open.append(phase)

    def leave(self) -> None:
        """Return to the outer phase."""
        self._stop()
        self._open.pop()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Spend the seconds of a block in a phase."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def seconds(self) -> dict[str, tuple[float, ...]]:
        """Return the seconds of each phase so far, and the CPU seconds of this process in it."""
        self._stop()
        return dict(self._seconds)

    def write(self, folder: Path) -> None:
        """Write the phases to `timing.json`."""
        seconds = self.seconds()
        document = {
            "began": self.began,
            "ended": time.time(),
            "phases": {name: round(wall, 3) for name, (wall, _) in seconds.items()},
            "cpu_phases": {name: round(cpu, 3) for name, (_, cpu) in seconds.items()},
        }
        write_json(folder / TIMING_FILE, document)

    def _stop(self) -> None:
        now, phase = _now(), self._open[-1]
        self._seconds[phase] = tuple(
            spent + new - old
            for spent, new, old in zip(self._seconds[phase], now, self._since, strict=True)
        )
        self._since = now


def _now() -> tuple[float, float]:
    """Return the wall clock and the CPU clock of this process, in seconds."""
    return time.monotonic(), time.process_time()


# One per process, because a run is a process.
CLOCK = PhaseClock()


@dataclass(frozen=True)
class Timing:
    """The content of `timing.json`.

    Attributes:
        began: When the task's work began, after its imports, in seconds since 1970.
        ended: When the file was written.
        phases: Seconds of each phase.
    """

    began: float
    ended: float
    phases: Mapping[str, float]


def read_timing(folder: Path) -> Timing | None:
    """Return the timing in a work dir; None if there is none, or it is damaged."""
    document = read_json(folder / TIMING_FILE) or {}
    try:
        phases = {name: float(document["phases"][name]) for name in PHASES}
        return Timing(float(document["began"]), float(document["ended"]), phases)
    except (KeyError, TypeError, ValueError):
        return None
