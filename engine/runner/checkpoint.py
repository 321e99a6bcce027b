"""Save a training at its exact position: by its schedule, by the clock, and on a request to stop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_distributed, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

from contract.timing import CLOCK, WRITING
from engine.runner import checkpoint_files, stop
from engine.runner.agreement import Agreement
from engine.runner.batch_statistics import agree_on_statistics, every_statistics, take_statistics
from engine.runner.validation import is_validation_due

ELAPSED = "elapsed_seconds"
_STATISTICS = "statistics_of_processes"
# What a process wants after an iteration; the largest wish of all processes counts.
_NOTHING, _SAVE, _STOP = 0, 1, 2


@HOOKS.register_module()
class PositionCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, for every position of a training.

    It saves at mmengine's interval, before each validation (a signal during a validation then finds a checkpoint of
    its position), after `minutes` without a checkpoint, and after the iteration in which a signal came
    (`engine.runner.stop`). A checkpoint also holds the time used so far. Files are complete or absent.

    Scheduled checkpoints hold the mean of the processes' batch statistics. The others come at arbitrary iterations;
    they hold the statistics of every process, because a mean would change the last digits of the uninterrupted run.

    Args:
        interval: Epochs or iterations between scheduled checkpoints.
        by_epoch: Whether the loop counts epochs.
        minutes: Longest time without a checkpoint.
    """

    def __init__(self, interval: int = 1, by_epoch: bool = True, minutes: float = 10.0) -> None:
        super().__init__(interval=interval, by_epoch=by_epoch)
        self.minutes = minutes
        self._training = False
        self._agreement: Agreement | None = None
        self._statistics: list[torch.Tensor] | None = None

    def before_train(self, runner: Any) -> None:
        """Start the clocks, the first at the time of the interrupted run, and wait for signals."""
        super().before_train(runner)
        now = time.monotonic()
        self._started = now - runner.message_hub.runtime_info.get(ELAPSED, 0.0)
        self._waiting_since = now
        self._saved_iter = runner.iter
        self._wish = _NOTHING
        if is_distributed():
            self._agreement = Agreement()
        if self._statistics is not None:
            take_statistics(runner, self._statistics)
            self._statistics = None
        self._training = True
        stop.defer()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save if a checkpoint is due, and stop on request.

        Raises:
            Stopped: After saving.
        """
        self._wish = max(self._wish, self._agreed())
        if self.by_epoch:
            if batch_idx + 1 < len(runner.train_dataloader):
                self._obey(runner, runner.epoch, runner.iter + 1, within_epoch=True)
            return
        done = runner.iter + 1
        scheduled = self.every_n_train_iters(runner, self.interval)
        if scheduled or self.is_last_train_iter(runner) or is_validation_due(runner, done):
            self._save(runner, runner.epoch, done)
        self._obey(runner, runner.epoch, done)

    def after_train_epoch(self, runner: Any) -> None:
        """Save after an epoch, and stop if that was requested in its last iteration.

        Raises:
            Stopped: After saving.
        """
        if not self.by_epoch:
            return
        done = runner.epoch + 1
        scheduled = self.every_n_epochs(runner, self.interval)
        if scheduled or self.is_last_train_epoch(runner) or is_validation_due(runner, done):
            self._save(runner, done, runner.iter)
        self._obey(runner, done, runner.iter)

    def before_val(self, runner: Any) -> None:
        """Let a signal end a validation, which a resumed run repeats."""
        if self._training:
            stop.at_once()

    def after_val(self, runner: Any) -> None:
        """Wait for signals again."""
        if self._training:
            stop.defer()

    def after_train(self, runner: Any) -> None:
        """Store the seconds of the whole run; from here on, the last checkpoint is the position."""
        runner.message_hub.update_info(ELAPSED, time.monotonic() - self._started)
        if self._agreement is not None:
            self._agreement.finish()
        self._training = False
        stop.at_once()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Store the seconds of training so far, and the processes' statistics."""
        elapsed = time.monotonic() - self._started
        runner.message_hub.update_info(ELAPSED, elapsed)
        checkpoint["message_hub"]["runtime_info"][ELAPSED] = elapsed
        if self._statistics is not None:
            checkpoint[_STATISTICS] = self._statistics

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the processes' statistics until the model has its weights."""
        self._statistics = checkpoint.get(_STATISTICS)

    def _agreed(self) -> int:
        """Return what to do after this iteration, the same in all processes."""
        wish = _NOTHING
        if stop.requested():
            wish = _STOP
        elif is_main_process() and time.monotonic() - self._waiting_since >= 60 * self.minutes:
            # Once: the answer comes one iteration later, and the wish of that iteration would save again.
            self._waiting_since = time.monotonic()
            wish = _SAVE
        return wish if self._agreement is None else self._agreement.exchange(wish)

    def _obey(self, runner: Any, epoch: int, done: int, *, within_epoch: bool = False) -> None:
        wish, self._wish = self._wish, _NOTHING
        if wish != _NOTHING and done != self._saved_iter:
            self._save(runner, epoch, done, within_epoch=within_epoch, exact=True)
        if wish == _STOP:
            if self._agreement is not None:
                # The main process has written.
                self._agreement.meet()
            raise stop.Stopped(f"iteration {done} of {runner.max_iters} is saved")

    def _save(
        self,
        runner: Any,
        epoch: int,
        done: int,
        *,
        within_epoch: bool = False,
        exact: bool = False,
    ) -> None:
        """Write a checkpoint; all processes come here together."""
        # All processes come here, and only the main process goes on to `before_save_checkpoint`.
        if exact:
            self._statistics = every_statistics(runner)
        else:
            agree_on_statistics(runner)
        name = checkpoint_files.name_of(
            epoch if self.by_epoch else None, done, within_epoch=within_epoch
        )
        runner.logger.info(
            f"Saving checkpoint at {epoch} epochs"
            if self.by_epoch and not within_epoch
            else f"Saving checkpoint at {done} iterations"
        )
        with CLOCK.phase(WRITING):
            runner.save_checkpoint(
                self.out_dir,
                checkpoint_files.partial_name(name),
                meta=dict(epoch=epoch, iter=done),
                by_epoch=False,
            )
            if is_main_process():
                checkpoint_files.complete(Path(self.out_dir), name)
        self._statistics = None
        self._waiting_since, self._saved_iter = time.monotonic(), done
