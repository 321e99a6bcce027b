"""Randomness as a function of (seed, position)."""

import random

import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader

from engine.runner import seeding
from engine.runner.seeding import (
    SeedEachIterationHook,
    SeededDataset,
    SeededSampler,
    seed_everything,
)


class Noise:
    """Sample i is (i, a draw of each global generator)."""

    def __init__(self, count):
        self.count = count
        self.metainfo = {"classes": ("only",)}

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        draws = [random.random(), np.random.rand(), torch.rand(()).item()]
        return torch.tensor([index, *draws], dtype=torch.float64)

    def get_data_info(self, index):
        return {"index": index}


def _draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_key_seeds_all_generators():
    seed_everything(3, 1, 4)
    first = _draws()
    assert _draws() != first
    seed_everything(3, 1, 4)
    assert _draws() == first


def test_different_keys_differ():
    keys = [(s, e, i) for s in range(5) for e in range(5) for i in range(1, 5)]
    keys += [(1, s, r, i) for s in range(5) for r in range(3) for i in range(1, 5)]
    streams = set()
    for key in keys:
        seed_everything(*key)
        streams.add(_draws())
    for draws in zip(*streams, strict=True):
        assert len(set(draws)) == len(keys)


def test_neighbouring_keys_are_uncorrelated():
    rows = []
    for index in range(40):
        seed_everything(0, 0, index)
        rows.append(torch.rand(400).numpy() - 0.5)
    correlation = np.corrcoef(rows)[np.triu_indices(40, 1)]
    # 780 pairs of 400 independent draws each: five deviations are 5 / √400.
    assert np.abs(correlation).max() < 0.25


def test_no_queued_cuda_seeding(monkeypatch):
    if torch.cuda.is_initialized():
        pytest.skip("CUDA is initialised, so that nothing is queued any more")
    called = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", called.append)
    before = len(torch.cuda._queued_calls)
    for index in range(50):
        seed_everything(0, index)
    assert called == []
    assert len(torch.cuda._queued_calls) == before


def test_seeds_active_gpu(monkeypatch):
    called = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", called.append)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)
    seed_everything(0, 1)
    assert called == [torch.initial_seed()]
    # A loader worker that was forked from a process with a GPU must not use it.
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    seed_everything(0, 2)
    assert len(called) == 1


def _read(workers, order, epoch=0, seed=5):
    data = SeededDataset(Noise(12), seed=seed)
    positions = [epoch * 12 + i for i in order]
    loader = DataLoader(data, batch_size=4, sampler=positions, num_workers=workers)
    rows = torch.cat(list(loader)).tolist()
    return {int(row[0]): tuple(row[1:]) for row in rows}


def test_sample_depends_on_key_only():
    plain = _read(0, range(12))
    assert _read(2, range(12)) == plain
    assert _read(0, reversed(range(12))) == plain
    np.random.seed(1)
    assert _read(0, range(12)) == plain
    for other in (_read(0, range(12), epoch=1), _read(0, range(12), seed=6)):
        assert other.keys() == plain.keys()
        assert not set(other.values()) & set(plain.values())
    assert len(set(plain.values())) == 12


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (4, [0, 2, 5, 7]),
        (3, [0, 3, 6]),
        (1, [0]),
        (99, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_limit_is_evenly_spaced(limit, expected):
    data = SeededDataset(Noise(10), seed=0, limit=limit)
    assert (len(data), data.total) == (len(expected), 10)
    for epoch in (0, 3):
        positions = range(epoch * len(data), (epoch + 1) * len(data))
        assert [int(data[p][0]) for p in positions] == expected
        assert [data.get_data_info(p)["index"] for p in positions] == expected


def test_wrapper_forwards_mmengine_calls():
    class Lazy(Noise):
        loaded = False

        def full_init(self):
            self.loaded = True

    inner = Lazy(3)
    data = SeededDataset(inner, seed=0)
    data.full_init()
    assert inner.loaded
    assert data.metainfo == {"classes": ("only",)}
    SeededDataset(Noise(3), seed=0).full_init()


def _sampler(count, rank=0, world=1, monkeypatch=None, **options):
    if monkeypatch is not None:
        monkeypatch.setattr(seeding, "get_dist_info", lambda: (rank, world))
    config = dict(type="SeededSampler", dataset=range(count), seed=3, **options)
    return DATA_SAMPLERS.build(config)


def test_epochs_have_different_permutations():
    sampler = _sampler(20)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        positions = list(sampler)
        assert sorted(positions) == list(range(epoch * 20, (epoch + 1) * 20))
        orders.append(tuple(p - epoch * 20 for p in positions))
        assert len(positions) == len(sampler)
    assert len(set(orders)) == 4
    assert orders[0] != tuple(range(20))
    again = _sampler(20)
    assert tuple(again) == orders[0]
    assert tuple(SeededSampler(range(20), seed=4)) != orders[0]


def test_unshuffled_order():
    assert list(_sampler(5, shuffle=False)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("count", "world"), [(12, 3), (11, 4), (2, 5)])
def test_ranks_split_an_epoch(monkeypatch, count, world):
    monkeypatch.setattr(seeding, "get_dist_info", lambda: (0, 1))
    alone = _sampler(count)
    alone.set_epoch(2)
    whole = list(alone)
    parts = []
    for rank in range(world):
        sampler = _sampler(count, rank, world, monkeypatch)
        sampler.set_epoch(2)
        parts.append(list(sampler))
    each = -(-count // world)
    assert [len(part) for part in parts] == [each] * world
    # Interleaved, the parts are the order of a single process, repeated from the start to fill up.
    dealt = [parts[i % world][i // world] for i in range(each * world)]
    assert dealt == [whole[i % count] for i in range(each * world)]


def _take(sampler, count):
    iterator = iter(sampler)
    return [next(iterator) for _ in range(count)]


@pytest.mark.parametrize("skipped", [0, 1, 6, 7, 8, 15])
@pytest.mark.parametrize("world", [1, 2])
def test_late_start_equals_skipping(monkeypatch, skipped, world):
    whole = _take(_sampler(7, world - 1, world, monkeypatch, infinite=True), 40)
    resumed = _sampler(7, world - 1, world, monkeypatch, infinite=True)
    resumed.start_after(skipped)
    assert _take(resumed, 40 - skipped) == whole[skipped:]


def test_infinite_sampler_chains_permutations():
    drawn = _take(_sampler(7, infinite=True), 21)
    for epoch in range(3):
        assert sorted(drawn[epoch * 7 : epoch * 7 + 7]) == list(range(epoch * 7, epoch * 7 + 7))


def test_sampler_of_several_epochs_chains_whole_batches():
    """The same samples as epoch by epoch with a loader that drops the last batch."""
    alone = _sampler(11)
    expected = []
    for epoch in range(3):
        alone.set_epoch(epoch)
        expected += list(alone)[:8]
    chained = _sampler(11, epochs=3, whole=4)
    assert len(chained) == 8
    chained.set_epoch(2)
    assert list(chained) == expected
    for done in (0, 4, 8, 20):
        chained.start_after(done)
        assert list(chained) == expected[done:]


def test_finite_sampler_ends():
    assert len(list(_sampler(7))) == 7


class _Runner:
    def __init__(self, rank, iteration):
        self.rank, self.iter = rank, iteration


def test_iteration_draws_by_seed_rank_and_iteration():
    def drawn(seed, rank, iteration):
        SeedEachIterationHook(seed).before_train_iter(_Runner(rank, iteration), 0)
        return _draws()

    keys = [(s, r, i) for s in range(3) for r in range(2) for i in range(3)]
    streams = {key: drawn(*key) for key in keys}
    assert len(set(streams.values())) == len(keys)
    torch.rand(7)
    assert all(drawn(*key) == stream for key, stream in streams.items())
