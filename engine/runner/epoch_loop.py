"""mmengine's epoch-based loop, which can be resumed within an epoch."""

from __future__ import annotations

from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from engine.runner.batch_sampler import ReplayedBatchSampler


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's epoch-based loop, which starts at any iteration of an epoch.

    The original starts at the epoch's first iteration. Here the sampler starts at the next one, and no earlier image is
    read.
    """

    def run_epoch(self) -> None:
        """Train the rest of an epoch."""
        # The first hook gives the sampler the epoch.
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if done:
            self._start_after(done)
        for index, batch in enumerate(self.dataloader, start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _start_after(self, batches: int) -> None:
        loader: Any = self.dataloader
        sampler = loader.batch_sampler
        if isinstance(sampler, ReplayedBatchSampler):
            sampler.start_after(batches)
            return
        within = batches * sampler.batch_size
        loader.sampler.start_after(self._epoch * loader.sampler.per_process + within)
