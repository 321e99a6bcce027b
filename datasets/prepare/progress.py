"""The progress of a preparation: a bar on a terminal, or occasional lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

SECONDS_BETWEEN_LINES = 15.0


class Bar(Protocol):
    """Shows the progress of one step."""

    def at(self, done_bytes: int, total_bytes: int | None = None) -> None:
        """Show a position; `total_bytes` replaces an earlier total if it is given."""
        ...


class Announcer:
    """Prints messages and shows progress bars on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """Print a message."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total_bytes: int | None) -> Iterator[Bar]:
        """Show a bar for the duration of a step.

        Args:
            title: Name of the step.
            total_bytes: Total amount of work; None if it is not known yet.
        """
        if not self._console.is_terminal:
            self.say(f"{title}{_of(total_bytes)}")
            yield _Lines(self, title, total_bytes)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(escape(title), total=total_bytes)
            yield _Live(progress, task)


class _Live:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def at(self, done_bytes: int, total_bytes: int | None = None) -> None:
        self._progress.update(self._task, completed=done_bytes, total=total_bytes)


class _Lines:
    def __init__(self, announcer: Announcer, title: str, total_bytes: int | None) -> None:
        self._announcer = announcer
        self._title = title
        self._total = total_bytes
        self._spoke = time.monotonic()

    def at(self, done_bytes: int, total_bytes: int | None = None) -> None:
        self._total = total_bytes or self._total
        now = time.monotonic()
        if now - self._spoke >= SECONDS_BETWEEN_LINES:
            self._spoke = now
            self._announcer.say(f"{self._title}: {decimal(done_bytes)}{_of(self._total)}")


def _of(total_bytes: int | None) -> str:
    return "" if total_bytes is None else f" of {decimal(total_bytes)}"
