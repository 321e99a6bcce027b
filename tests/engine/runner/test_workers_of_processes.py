"""Loader workers where several processes, or several runs of several processes, share a machine."""

import pytest

from engine.runner import loader_processes
from engine.runner.loader_processes import automatic_workers


@pytest.mark.parametrize(
    ("processes", "threads", "by_harness", "workers"),
    [
        # torchrun sets one thread; two processes have the machine for themselves.
        (2, 1, False, 7),
        # The harness divides 16 cores among four processes of two runs.
        (2, 4, True, 3),
        (1, 8, True, 7),
    ],
)
def test_cores_are_divided(monkeypatch, processes, threads, by_harness, workers):
    monkeypatch.setattr(loader_processes, "cpu_cores", lambda: 16)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    if processes > 1:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert automatic_workers("cuda", by_harness=by_harness) == workers
