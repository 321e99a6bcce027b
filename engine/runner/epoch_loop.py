"""mmengine's epoch-based loop, which can be resumed within an epoch and loads across epochs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from engine.runner.batch_sampler import ReplayedBatchSampler


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch-based loop, which starts at any iteration of an epoch.

    The original starts at the epoch's first iteration. Here the sampler starts at the next one, and no earlier image is
    read.

    The original also starts its loader again for each epoch, so that the first batch is awaited. Where the sampler goes
    on with the next epoch, the loader's workers do too.
    """

    # Of the loader; it lasts for all epochs.
    _batches: Iterator[Any] | None = None

    def run_epoch(self) -> None:
        """Train the rest of an epoch."""
        # The first hook gives the sampler the epoch.
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        length = len(self.dataloader)
        done = self._iter - self._epoch * length
        for index, batch in enumerate(islice(self._rest(done), length - done), start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
        if self._epoch == self._max_epochs:
            self._batches = None

    def _rest(self, done: int) -> Iterator[Any]:
        """Return the batches from an epoch's batch `done` on."""
        loader: Any = self.dataloader
        if getattr(loader.sampler, "continues", False):
            if self._batches is None:
                loader.sampler.start_after(self._iter * loader.batch_sampler.batch_size)
                self._batches = iter(loader)
            return self._batches
        if done:
            self._start_after(done)
        return iter(loader)

    def _start_after(self, batches: int) -> None:
        loader: Any = self.dataloader
        sampler = loader.batch_sampler
        if isinstance(sampler, ReplayedBatchSampler):
            sampler.start_after(batches)
            return
        within = batches * sampler.batch_size
        loader.sampler.start_after(self._epoch * loader.sampler.per_process + within)
