"""Stop a run on SIGTERM or SIGUSR1: the training first saves where it is.

Schedulers of clusters send one of the two before they end a job. In training, a signal is noted, and
`engine.runner.checkpoint` saves after the current iteration. Everywhere else the last checkpoint is at the run's
position, so the run ends at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
AGAIN = "run the same command with --resume to go on"


class Stopped(BaseException):
    """A request to stop the run. Like KeyboardInterrupt, it is no error that code may handle.

    Args:
        where: What was saved, as the end of a sentence.
    """

    def __init__(self, where: str = "nothing was lost since the last checkpoint") -> None:
        super().__init__(f"stopped: {where}; {AGAIN}")


class _State:
    """What the handler knows; a process has one.

    Attributes:
        requested: Whether a signal has come.
        deferred: Whether the training will look at it.
        pid: The process that installed the handlers; forked children have them too.
    """

    requested = False
    deferred = False
    pid: int | None = None


def requested() -> bool:
    """Return whether a stop was requested."""
    return _State.requested


def request() -> None:
    """Tell the run to stop, as a signal does.

    Raises:
        Stopped: Nothing has to be saved first.
    """
    _State.requested = True
    if not _State.deferred:
        raise Stopped


def defer() -> None:
    """From now on only note signals, because the training looks at them after each iteration."""
    _State.deferred = True


def at_once() -> None:
    """From now on stop at once, because the run's position has a checkpoint.

    Raises:
        Stopped: A signal has come.
    """
    _State.deferred = False
    if _State.requested:
        raise Stopped


@contextmanager
def caught_signals() -> Iterator[None]:
    """Handle the two signals while a task's command runs; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.requested, _State.deferred, _State.pid = False, False, os.getpid()
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield
    finally:
        _State.requested, _State.deferred, _State.pid = False, False, None
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    # A child between its fork and `_leave_to_the_parent`.
    if os.getpid() == _State.pid:
        request()


def _leave_to_the_parent() -> None:
    """In a forked child, such as a loader worker: let only the parent end it.

    Clusters signal all processes of a job. A worker that ends would end the training with an error before it has saved.
    torch replaces Python's handler in its workers, so the signals are blocked. The parent ends workers by SIGTERM when
    it exits, so a thread waits for the signal and asks who sent it.
    """
    if _State.pid is None or os.getpid() == _State.pid:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_wait_for_the_parent, daemon=True).start()


def _wait_for_the_parent() -> None:
    while True:
        caught = signal.sigwaitinfo(SIGNALS)
        if caught.si_signo == signal.SIGTERM and caught.si_pid == os.getppid():
            os._exit(0)


os.register_at_fork(after_in_child=_leave_to_the_parent)
