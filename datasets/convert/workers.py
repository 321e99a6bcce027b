"""Apply a function to many items in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    function: Callable[[Item], Outcome], items: Sequence[Item], processes: int
) -> Iterator[Outcome]:
    """Yield the outcomes as they come.

    Args:
        function: A function of a module, or a `partial` of one.
        items: Its arguments.
        processes: How many processes; with one, nothing is started.
    """
    if processes == 1 or len(items) < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(items)),
        # Not fork: the harness may have threads.
        mp_context=multiprocessing.get_context("spawn"),
        # The parent stops them; their own tracebacks would hide its message.
        initializer=_ignore_interrupts,
    )
    try:
        for future in as_completed([pool.submit(function, item) for item in items]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
