"""Randomness as a function of (seed, position), so that a resumed run sees the same data and draws.

Every sample's augmentation is drawn from (seed, epoch, index), and every training step's noise from (seed,
iteration). Neither depends on the process's history or on the number of loader workers, so a run that is
resumed from any checkpoint sees what the uninterrupted one saw.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, LOOPS
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import Sampler

from contract.errors import UserError
from engine.few_shot import stratified_subset
from engine.runner.batch_sampler import ReplayedBatchSampler
from engine.runner.block_order import block_order


def seed_everything(*key: int) -> None:
    """Seed Python's, numpy's and torch's global generators from a tuple of non-negative integers."""
    # numpy pads a key with zeros; the length distinguishes (1, 2) from (1, 2, 0).
    state = np.random.SeedSequence((len(key), *key)).generate_state(4, np.uint32).tolist()
    random.seed(state[0])
    np.random.seed(state[1])
    # Before CUDA starts, every call of torch.manual_seed would queue a call with a formatted stack.
    torch.default_generator.manual_seed((state[2] << 32) | state[3])
    if torch.cuda.is_initialized() and not torch.cuda._is_in_bad_fork():
        torch.cuda.manual_seed_all((state[2] << 32) | state[3])


@DATASETS.register_module()
class SeededDataset:
    """A dataset whose samples are pure functions of (seed, epoch, index).

    `SeededSampler` yields `epoch * len(self) + index`; this class separates the two. A plain index therefore means
    epoch 0, as in validation.

    Args:
        dataset: The dataset, or its config.
        seed: The run's seed.
        limit: Use this many samples, spread evenly over the set; None uses all.
        fraction: Use this fraction of the images, stratified by class and drawn with the seed; images repeat to keep
            the length of an epoch. None uses all.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict[str, Any],
        seed: int,
        limit: int | None = None,
        fraction: float | None = None,
    ) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed
        self.total = len(self.dataset)
        self.length = self.total if limit is None else min(limit, self.total)
        # An array: loader workers would copy a list, whose numbers are objects.
        self.chosen = None if fraction is None else np.asarray(self._choose(fraction))

    @property
    def metainfo(self) -> dict[str, Any]:
        """The dataset's metainfo: classes and palette."""
        return self.dataset.metainfo

    @property
    def notes(self) -> list[str]:
        """Notes on what the wrapped datasets repaired while loading."""
        return [note for dataset in leaves(self.dataset) for note in getattr(dataset, "notes", [])]

    @property
    def images_total(self) -> int:
        """Number of different images in the set; images repeated by mmengine's `RepeatDataset` count once."""
        return self.total // getattr(self.dataset, "times", 1)

    @property
    def images_used(self) -> int:
        """Number of different images that an epoch draws from."""
        return min(self.length, len(self.images))

    @property
    def images(self) -> Sequence[int]:
        """Positions in the dataset of the images that training uses: all, or the chosen subset."""
        return range(self.images_total) if self.chosen is None else self.chosen.tolist()

    @property
    def blocks(self) -> np.ndarray | None:
        """The block in which each sample is stored, if the dataset is packed; the order of training follows it."""
        blocks = getattr(self.dataset, "blocks", None)
        if blocks is None:
            return None
        positions = np.arange(self.length) * self.total // self.length
        if self.chosen is not None:
            positions = self.chosen[positions % len(self.chosen)]
        return blocks[positions]

    def _choose(self, fraction: float) -> list[int]:
        # All datasets of a split are of the same kind.
        classes_in = getattr(next(leaves(self.dataset)), "classes_in", None)
        if classes_in is None:
            raise UserError("a few-shot subset needs images with boxes, label maps or classes")
        labels = [classes_in(self.dataset.get_data_info(i)) for i in range(self.images_total)]
        return stratified_subset(labels, fraction, self.seed)

    def full_init(self) -> None:
        """Load the annotations; mmengine calls this before it makes a loader."""
        if hasattr(self.dataset, "full_init"):
            self.dataset.full_init()

    def get_data_info(self, position: int) -> dict[str, Any]:
        """Return the annotation of a sample, for mmdet's aspect-ratio batching."""
        return self.dataset.get_data_info(self._index(position))

    def _index(self, position: int) -> int:
        index = position % self.length * self.total // self.length
        return index if self.chosen is None else int(self.chosen[index % len(self.chosen)])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> Any:
        epoch, index = divmod(position, self.length)
        seed_everything(self.seed, epoch, index)
        return self.dataset[self._index(position)]


def leaves(dataset: Any) -> Iterator[Any]:
    """Yield the datasets inside mmengine's wrappers."""
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    if inner == [None]:
        yield dataset
        return
    for part in inner:
        yield from leaves(part)


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler[int]):
    """Sample positions `epoch * len(dataset) + index` for `SeededDataset`, divided among the processes.

    Args:
        dataset: Anything with a length.
        seed: The run's seed; every epoch's order is drawn from (seed, epoch).
        shuffle: Draw a new order for every epoch.
        infinite: Continue with the next epoch after the last sample, for iteration-based loops.
        epochs: Continue with the next epoch after the last sample, up to this many; loader workers then prepare the
            next epoch's first batches during the last ones of an epoch. None stops after each epoch.
        whole: Leave out an epoch's last samples that do not fill a batch of so many.
        blocks: The block in which each sample is stored (n,); the order is then that of
            `engine.runner.block_order`. None takes the dataset's, if it has any.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int,
        shuffle: bool = True,
        infinite: bool = False,
        blocks: np.ndarray | None = None,
        epochs: int | None = None,
        whole: int = 1,
    ) -> None:
        self.dataset = dataset
        self.blocks = getattr(dataset, "blocks", None) if blocks is None else blocks
        self.seed = seed
        self.shuffle = shuffle
        self.infinite = infinite
        self.rank, self.world_size = get_dist_info()
        # Every process gets the same number of samples; the last ones repeat the epoch's first.
        per_process = -(-len(dataset) // self.world_size)
        self.last_epoch = epochs
        self.per_process = per_process - per_process % whole
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        A sampler of several epochs counts them itself: mmengine always passes epoch 0 in an iteration-based loop, even
        after `start_after`.
        """
        if not self.continues:
            self.epoch = epoch

    @property
    def continues(self) -> bool:
        """Whether an iteration goes on with the next epoch."""
        return self.infinite or self.last_epoch is not None

    def start_after(self, samples: int) -> None:
        """Make the next iteration start after the first `samples` samples of this process, in all epochs together."""
        self.epoch, self.skip = divmod(samples, self.per_process)

    def _one_epoch(self, epoch: int) -> list[int]:
        count = len(self.dataset)
        order = np.arange(count)
        if self.shuffle:
            generator = np.random.default_rng([self.seed, epoch])
            if self.blocks is None:
                generator.shuffle(order)
            else:
                order = block_order(self.blocks, generator)
        order = np.resize(order, self.per_process * self.world_size)
        return (epoch * count + order[self.rank :: self.world_size]).tolist()

    def __iter__(self) -> Iterator[int]:
        epoch, skip, self.skip = self.epoch, self.skip, 0
        yield from self._one_epoch(epoch)[skip:]
        while self.infinite or epoch + 1 < (self.last_epoch or 0):
            epoch += 1
            yield from self._one_epoch(epoch)

    def __len__(self) -> int:
        return self.per_process


@HOOKS.register_module()
class SeedEachIterationHook(Hook):
    """Draw a training step's randomness (mixing, dropout, RoI sampling) from (seed, rank, iteration).

    Args:
        seed: The run's seed.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        """Seed just before the forward pass."""
        # The leading 1 keeps these streams apart from the samples' (seed, epoch, index).
        seed_everything(1, self.seed, runner.rank, runner.iter)


@LOOPS.register_module()
class ResumableIterTrainLoop(IterBasedTrainLoop):
    """mmengine's iteration-based loop, resumed without delay.

    The original loads and discards all batches up to the checkpoint; here the sampler starts there. A batch sampler of
    the config is replayed up to there without loading an image.
    """

    def run(self) -> Any:
        """Train from the current iteration to the last."""
        if self._iter > 0:
            loader: Any = self.dataloader
            batches = loader.batch_sampler
            if isinstance(batches, ReplayedBatchSampler):
                batches.start_after(self._iter)
            else:
                loader.sampler.start_after(self._iter * batches.batch_size)
            self.dataloader_iterator = _AlreadyAdvanced(self.dataloader, self._iter)
        return super().run()


class _AlreadyAdvanced(_InfiniteDataloaderIterator):
    """An iterator whose first `skip` steps, with which mmengine's loop catches up, are free."""

    def __init__(self, dataloader: Any, skip: int) -> None:
        super().__init__(dataloader)
        self.skip = skip

    def __next__(self) -> Any:
        if self.skip:
            self.skip -= 1
            return None
        return super().__next__()
