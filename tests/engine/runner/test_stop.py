"""Signals of a cluster: which process notices them, and when."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest

from engine.runner import stop


def _signal_from_elsewhere(pid, number):
    # The sender is a shell, not the parent of the process.
    subprocess.run(["sh", "-c", f"kill -{int(number)} {pid}"], check=True)


def test_a_signal_stops_at_once_or_is_noted():
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(stop.Stopped, match="run the same command with --resume"),
        stop.caught_signals(),
    ):
        assert not stop.requested()
        stop.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.requested()
        stop.at_once()
    assert signal.getsignal(signal.SIGTERM) == before
    assert not stop.requested()
    with pytest.raises(stop.Stopped), stop.caught_signals():
        os.kill(os.getpid(), signal.SIGUSR1)


def _work(ready):
    # As torch does in its loader workers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ready.set()
    time.sleep(60)


def test_only_the_parent_ends_a_loader_worker():
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    with stop.caught_signals():
        worker = fork.Process(target=_work, args=(ready,), daemon=True)
        worker.start()
        assert ready.wait(30)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            _signal_from_elsewhere(worker.pid, number)
        worker.join(0.2)
        assert worker.is_alive()
        worker.terminate()
        worker.join(30)
        assert worker.exitcode == 0
    # Other forks are left alone.
    ready = fork.Event()
    worker = fork.Process(target=_work, args=(ready,), daemon=True)
    worker.start()
    assert ready.wait(30)
    worker.terminate()
    worker.join(30)
    assert worker.exitcode == -signal.SIGTERM
