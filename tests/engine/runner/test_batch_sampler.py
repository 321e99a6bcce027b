"""A batch sampler that holds samples back, replayed in a resumed run."""

import itertools

import mmdet.datasets.samplers  # noqa: F401  (registers AspectRatioBatchSampler)
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from engine.runner import seeding
from engine.runner.batch_sampler import ReplayedBatchSampler
from engine.runner.seeding import SeededDataset, SeededSampler

IMAGES, BATCH, SEED = 13, 3, 5


class Sizes:
    """Numbered images; every third one is upright."""

    metainfo = None

    def __len__(self):
        return IMAGES

    def get_data_info(self, index):
        return {"width": 20, "height": 30 if index % 3 == 0 else 10}

    def __getitem__(self, index):
        raise AssertionError("an image was loaded")


def _expected(rank, processes, count):
    """The first batches, from the definition: a batch is full as soon as its group has enough images."""
    groups, batches, epoch = {False: [], True: []}, [], 0
    while len(batches) < count:
        order = np.arange(IMAGES)
        np.random.default_rng([SEED, epoch]).shuffle(order)
        padded = list(order) + list(order)[: -IMAGES % processes]
        for index in padded[rank::processes]:
            group = groups[int(index) % 3 == 0]
            group.append(epoch * IMAGES + int(index))
            if len(group) == BATCH:
                batches.append(group.copy())
                group.clear()
        epoch += 1
    return batches[:count]


def _sampler(monkeypatch, rank, processes):
    monkeypatch.setattr(seeding, "get_dist_info", lambda: (rank, processes))
    dataset = SeededDataset(Sizes(), seed=SEED)
    positions = SeededSampler(dataset, seed=SEED, infinite=True)
    return ReplayedBatchSampler(positions, BATCH, dict(type="mmdet.AspectRatioBatchSampler"))


@pytest.mark.parametrize(("rank", "processes"), [(0, 1), (0, 2), (1, 2)])
def test_starts_after_any_number_of_batches(monkeypatch, rank, processes):
    expected = _expected(rank, processes, 30)
    with DefaultScope.overwrite_default_scope("mmdet"):
        sampler = _sampler(monkeypatch, rank, processes)
        assert list(itertools.islice(sampler, 30)) == expected
        for start in range(30):
            # A loader's workers have asked for the first batches before the run is resumed.
            next(iter(sampler))
            sampler.start_after(start)
            assert list(itertools.islice(sampler, 30 - start)) == expected[start:], start


def test_is_as_long_as_the_batch_sampler(monkeypatch):
    with DefaultScope.overwrite_default_scope("mmdet"):
        sampler = _sampler(monkeypatch, 0, 1)
        assert len(sampler) == -(-IMAGES // BATCH)
    assert isinstance(sampler.sampler, SeededSampler)
    assert sampler.batch_size == BATCH
