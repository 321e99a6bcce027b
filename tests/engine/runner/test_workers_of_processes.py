"""Loader workers where several processes, or several runs of several processes, share a machine."""

import pytest
from mmengine.config import Config

from contract.errors import UserError
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


@pytest.mark.parametrize("workers", [-1, 1.5, "x", True])
def test_wrong_number_of_workers(workers):
    loader = {"num_workers": workers}
    config = Config(dict(train_dataloader=loader, val_dataloader=dict(num_workers=0)))
    with pytest.raises(UserError, match=f"workers={workers!r} was given; expected a number"):
        loader_processes.wire_processes_of_loaders(config, "cpu", by_harness=False)
