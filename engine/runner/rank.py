"""The end of a process among several: an error in one of them ends all, and one message says why."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable

from contract import progress
from contract.command_line import STOPPED_REPORT
from engine.cli import explain, user_error
from engine.runner import stop
from engine.runner.distributed import is_first_to_fail, is_joined

# All processes meet a mistake in the options. The others give rank 0, which may be slower to start, so many seconds to
# report it; torchrun then ends them.
PATIENCE_SECONDS = 5.0
# The same within the group, where the processes run in step.
JOINED_PATIENCE_SECONDS = 1.0


def run_rank(work: Callable[[], None]) -> int:
    """Run a command as one of several processes that torchrun started, and return 0.

    An error is printed, and ends the process at once, with the exit status of `engine.cli.explain`. torchrun then ends
    the other processes. Ending the process group first, or exiting as Python does, would wait for processes that wait
    for this one: NCCL's communicators end only together, and the message would never be seen.

    Of several processes with an error, the first to fail reports it. What the others meet are usually broken
    connections to it.
    """
    try:
        work()
    except (KeyboardInterrupt, stop.Stopped, Exception) as error:
        _end(error)
    return 0


def _end(error: BaseException) -> None:
    # A signal must not stop the report.
    stop.defer()
    rank = int(os.environ["RANK"])
    if stop.requested() and user_error(error) is None and not isinstance(error, stop.Stopped):
        # The connection to a process that stopped first is broken.
        error = stop.Stopped()
    status, message = explain(error, where=f" (rank {rank})")
    first, interrupted = False, isinstance(error, (KeyboardInterrupt, stop.Stopped))
    # torchrun passes an interruption on to every process; a second one must not stop the report.
    with contextlib.suppress(KeyboardInterrupt):
        if rank:
            time.sleep(JOINED_PATIENCE_SECONDS if is_joined() or interrupted else PATIENCE_SECONDS)
        first = rank == 0 if interrupted else is_first_to_fail()
        if first:
            print(message, file=sys.stderr)
        if first and isinstance(error, stop.Stopped) and progress.is_asked_for():
            # torchrun exits with 1, whatever its processes exit with.
            progress.write({STOPPED_REPORT: True})
    _end_loader_workers()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if not (first or interrupted):
        # torchrun names the process that it sees end first as the cause, and then ends this one.
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(PATIENCE_SECONDS)
    os._exit(status)


def _end_loader_workers() -> None:
    """End the loader's workers, which would outlive a process that ends at once by some seconds."""
    # torch raises an error in this process when a worker is killed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in multiprocessing.active_children():
        worker.kill()
