"""The order in which a packed data set is read."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from engine.runner.block_order import WINDOW, block_order
from engine.runner.seeding import SeededDataset, SeededSampler

COUNT, BLOCKS = 240, 12


class Stored:
    """Sample i is its number; samples lie in blocks at random."""

    def __init__(self, count=COUNT):
        self.blocks = np.random.default_rng(5).integers(0, BLOCKS, count).astype(np.int32)
        self.metainfo = {"classes": ("only",)}

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, index):
        return torch.tensor(index)

    def get_data_info(self, index):
        return {"label": index % 3}

    def classes_in(self, info):
        return frozenset([info["label"]])


def test_order_is_a_permutation_by_windows():
    blocks = Stored().blocks
    order = block_order(blocks, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(COUNT))
    first_seen = list(dict.fromkeys(blocks[order].tolist()))
    place = {block: number // WINDOW for number, block in enumerate(first_seen)}
    windows = [place[block] for block in blocks[order].tolist()]
    assert windows == sorted(windows)
    assert max(windows) == BLOCKS // WINDOW - 1
    # Within a window, samples of different blocks are mixed.
    changes = np.count_nonzero(np.diff(blocks[order]))
    assert changes > COUNT / 2


def test_order_is_unbiased():
    """Every sample is equally likely first."""
    blocks = np.repeat(np.arange(8), 5)
    generator = np.random.default_rng(1)
    first = np.bincount([block_order(blocks, generator)[0] for _ in range(4000)], minlength=40)
    # Binomial with mean 100 and standard deviation 9.9; 5 deviations.
    assert (abs(first - 100) < 50).all()


def _sampler(seed, **more):
    return SeededSampler(SeededDataset(Stored(), seed, **more), seed)


def test_sampler_follows_seed_and_epoch():
    sampler = _sampler(3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append([position - epoch * COUNT for position in sampler])
    assert orders[0] == orders[2] != orders[1]
    assert list(_sampler(4)) != orders[0]
    blocks = Stored().blocks
    windows = [len(set(blocks[orders[0][start : start + 20]])) for start in range(0, COUNT, 20)]
    assert max(windows) <= 2 * WINDOW
    fully = SeededSampler(range(COUNT), 3)
    assert max(len(set(blocks[list(fully)[s : s + 20]])) for s in range(0, COUNT, 20)) > WINDOW


def test_given_blocks_take_precedence():
    ordered = SeededSampler(SeededDataset(Stored(), 0), 0, blocks=np.arange(COUNT) // 20)
    windows = [position // 20 // 1 for position in list(ordered)[: WINDOW * 20]]
    assert len(set(windows)) == WINDOW


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_epoch_continues_the_order(workers):
    def batches(skip):
        sampler = SeededSampler(SeededDataset(Stored(), 7), 7, infinite=True)
        sampler.start_after(skip)
        loader = iter(DataLoader(sampler.dataset, 10, sampler=sampler, num_workers=workers))  # pyright: ignore[reportArgumentType]
        return [next(loader).tolist() for _ in range(30 - skip // 10)]

    whole = batches(0)
    assert batches(130) == whole[13:]
    assert batches(250) == whole[25:]


def test_limit_and_fraction_keep_the_blocks_of_their_samples():
    for more in ({"limit": 50}, {"fraction": 0.2}, {"limit": 50, "fraction": 0.2}):
        dataset = SeededDataset(Stored(), 2, **more)
        assert dataset.blocks is not None
        expected = [Stored().blocks[int(dataset[position])] for position in range(len(dataset))]
        assert dataset.blocks.tolist() == expected


def test_processes_share_the_order(monkeypatch):
    parts = []
    for rank in range(2):
        monkeypatch.setattr("engine.runner.seeding.get_dist_info", lambda r=rank: (r, 2))
        parts.append(list(_sampler(0)))
    monkeypatch.undo()
    assert [p for pair in zip(*parts, strict=True) for p in pair] == list(_sampler(0))
