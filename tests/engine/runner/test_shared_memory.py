"""Workers are fitted into the shared memory before they start."""

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from contract.errors import UserError
from engine.runner import shared_memory
from engine.runner.shared_memory import fit_workers, shared_bytes

# torch warns of more workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SAMPLE_BYTES = 3 * 100 * 100


class Pictures:
    def __init__(self, count=64, side=100):
        self.count, self.side = count, side

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        random.random(), np.random.rand(), torch.rand(())
        return {"inputs": torch.zeros(3, self.side, self.side, dtype=torch.uint8), "labels": index}


class Annotation:
    def __init__(self):
        self.boxes = torch.zeros(5, 4)


def _loader(workers, batch=8, side=100):
    return DataLoader(Pictures(side=side), batch, num_workers=workers)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def free(monkeypatch, tmp_path):
    """Sets the free shared memory."""
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)

    def set_free(size):
        usage = type("Usage", (), {"free": size})
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage if path == tmp_path else None)

    return set_free


def test_enough_memory_changes_nothing(free):
    free(10**9)
    loader = _loader(4)
    assert fit_workers([loader]) == []
    assert loader.num_workers == 4


def test_workers_that_fit(free):
    batch = 8 * (SAMPLE_BYTES + 8)
    # Of two batches for each worker and one in use, with a tenth to spare: 3 workers fit.
    free(round(1.1 * batch * 7) + 1)
    loader = _loader(8)
    (note,) = fit_workers([loader])
    assert loader.num_workers == 3
    assert "3 instead of 8 workers" in note
    assert "--shm-size=1g or --ipc=host" in note and "--set workers=N" in note
    assert "4.5 MB of shared memory, and 1.8 MB are free" in note
    assert len(list(loader)) == 8
    assert fit_workers([loader]) == []


def test_loaders_and_processes_share(free):
    batch = 8 * (SAMPLE_BYTES + 8)
    free(round(1.1 * batch * 18) + 10)
    loaders = [_loader(4), _loader(4)]
    assert fit_workers(loaders) == []
    notes = fit_workers(loaders, processes=2)
    assert [loader.num_workers for loader in loaders] == [1, 1]
    assert len(notes) == 2 and "for each of 2 processes" in notes[0]


def test_no_worker_fits(free):
    free(5 * SAMPLE_BYTES)
    loader = _loader(2)
    with pytest.raises(UserError, match=r"too little for a single worker .*240\.\d kB; start the"):
        fit_workers([loader])
    assert fit_workers([_loader(0)]) == []


def test_generators_stay_as_they_are(free):
    free(10**9)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    fit_workers([_loader(2)])
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def test_bytes_are_those_of_all_tensors():
    """What torch shares: whole storages, also of views, anywhere in a batch."""

    samples = [
        {"inputs": torch.zeros(3, 10, 10), "data_samples": Annotation(), "name": "x" * 999}
        for _ in range(2)
    ]
    assert shared_bytes(pseudo_collate(samples)) == 2 * (1200 + 80)
    assert shared_bytes([torch.zeros(100, 100)[:1]]) == 40_000
    assert shared_bytes({"array": np.zeros(9)}) == 0
