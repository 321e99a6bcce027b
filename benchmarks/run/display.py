"""Show progress: a live line for each run, or plain lines without a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from benchmarks.plan.store import RunKey

SECONDS_BETWEEN_LINES = 15.0


class Display(Protocol):
    """Shows the progress of a command."""

    def started(self, key: RunKey, note: str) -> None:
        """A run has started."""
        ...

    def progressed(self, key: RunKey, report: Mapping[str, Any]) -> None:
        """A run reports its progress; may be called from any thread."""
        ...

    def warned(self, key: RunKey, text: str) -> None:
        """A run has a warning; may be called from any thread."""
        ...

    def ended(self, key: RunKey, text: str, *, good: bool) -> None:
        """A run has ended; it may never have started."""
        ...

    def close(self) -> None:
        """The command has ended."""
        ...


def make_display(console: Console, total: int) -> Display:
    """Return a live display for a terminal, or a plain one.

    Args:
        console: Where to print.
        total: Number of runs.
    """
    return LiveDisplay(console, total) if console.is_terminal else PlainDisplay(console, total)


class PlainDisplay:
    """Print lines for a log file: start, end and progress of each run."""

    def __init__(
        self, console: Console, total: int, interval_seconds: float = SECONDS_BETWEEN_LINES
    ) -> None:
        self._console = console
        self._total = total
        self._interval = interval_seconds
        # A run may be repeated.
        self._ended: set[RunKey] = set()
        self._spoke: dict[RunKey, float] = {}
        self._lock = threading.Lock()

    def started(self, key: RunKey, note: str) -> None:
        """Print that a run has started."""
        with self._lock:
            self._spoke[key] = time.monotonic()
            self._print(f"{key}: {note}")

    def progressed(self, key: RunKey, report: Mapping[str, Any]) -> None:
        """Print the progress of a run, if its last line is old enough."""
        with self._lock:
            now = time.monotonic()
            if now - self._spoke.get(key, now) < self._interval:
                return
            self._spoke[key] = now
            self._print(f"{key}: {describe_progress(report)}")

    def warned(self, key: RunKey, text: str) -> None:
        """Print a warning."""
        with self._lock:
            self._print(f"{key}: warning: {text}")

    def ended(self, key: RunKey, text: str, *, good: bool) -> None:
        """Print the outcome of a run."""
        with self._lock:
            self._ended.add(key)
            self._print(f"{key}: {text}")

    def close(self) -> None:
        """Do nothing, because every line has been printed."""

    def _print(self, text: str) -> None:
        width = len(str(self._total))
        line = f"[{len(self._ended):>{width}}/{self._total}] {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """Show a bar for each run below the lines of finished runs."""

    def __init__(self, console: Console, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._tasks: dict[RunKey, TaskID] = {}
        self._total = total
        # A run may be repeated.
        self._ended: set[RunKey] = set()
        self._progress.start()

    def started(self, key: RunKey, note: str) -> None:
        """Add a bar."""
        self._tasks[key] = self._progress.add_task(escape(str(key)), total=None, note=escape(note))

    def progressed(self, key: RunKey, report: Mapping[str, Any]) -> None:
        """Update a bar."""
        task = self._tasks.get(key)
        if task is not None:
            self._progress.update(
                task,
                completed=_number(report, "step"),
                total=_number(report, "steps"),
                note=escape(describe_progress(report)),
            )

    def warned(self, key: RunKey, text: str) -> None:
        """Print a warning above the bars."""
        self._progress.console.print(f"[yellow]![/] {escape(f'{key}: {text}')}", highlight=False)

    def ended(self, key: RunKey, text: str, *, good: bool) -> None:
        """Replace a bar with a line."""
        self._ended.add(key)
        task = self._tasks.pop(key, None)
        if task is not None:
            self._progress.remove_task(task)
        sign = "[green]✓[/]" if good else "[red]✗[/]"
        counter = f"{len(self._ended)}/{self._total}"
        self._progress.console.print(
            f"{sign} {counter} {escape(f'{key}: {text}')}", highlight=False
        )

    def close(self) -> None:
        """Remove the bars from the screen."""
        self._progress.stop()


def describe_progress(report: Mapping[str, Any]) -> str:
    """Describe a task's progress report; missing values are left out."""
    parts = []
    step, steps = _number(report, "step"), _number(report, "steps")
    epoch, epochs = _number(report, "epoch"), _number(report, "epochs")
    if step is not None and steps:
        parts.append(f"step {step:.0f}/{steps:.0f}")
    if epoch is not None and epochs:
        parts.append(f"epoch {epoch:.0f}/{epochs:.0f}")
    if (loss := _number(report, "loss")) is not None:
        parts.append(f"loss {loss:.3f}")
    if (rate := _number(report, "images_per_second")) is not None:
        parts.append(f"{rate:.0f} images/s")
    if (left := _number(report, "eta_seconds")) is not None:
        parts.append(f"{format_seconds(left)} left")
    return ", ".join(parts) or "running"


def format_seconds(seconds: float) -> str:
    """Return a readable duration: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_long(seconds: float) -> str:
    """Return a readable duration of any length: days from two on, else as `format_seconds`."""
    days = seconds / 86400
    return format_seconds(seconds) if days < 2 else f"{days:,.1f} days"


def _number(report: Mapping[str, Any], key: str) -> float | None:
    value = report.get(key)
    return float(value) if isinstance(value, int | float) else None
