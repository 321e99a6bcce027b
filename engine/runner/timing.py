"""The time of a run: wall-clock seconds over all interruptions, of its phases, and CPU seconds of each iteration."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS

from contract.timing import CLOCK, TRAINING, VALIDATION, WRITING
from engine.runner.batch_statistics import agree_on_statistics

ELAPSED = "elapsed_seconds"


@HOOKS.register_module()
class TimedCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, which also stores the time used so far, and statistics of all processes."""

    def before_train(self, runner: Any) -> None:
        """Start the clock at the time of the interrupted run."""
        super().before_train(runner)
        self._started = time.monotonic() - runner.message_hub.runtime_info.get(ELAPSED, 0.0)

    def _save_checkpoint(self, runner: Any) -> None:
        # All processes come here, and only the main process goes on to `before_save_checkpoint`.
        agree_on_statistics(runner)
        with CLOCK.phase(WRITING):
            super()._save_checkpoint(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Store the seconds of training so far."""
        elapsed = time.monotonic() - self._started
        runner.message_hub.update_info(ELAPSED, elapsed)
        checkpoint["message_hub"]["runtime_info"][ELAPSED] = elapsed

    def after_train(self, runner: Any) -> None:
        """Store the seconds of the whole run."""
        super().after_train(runner)
        runner.message_hub.update_info(ELAPSED, time.monotonic() - self._started)


@HOOKS.register_module()
class CpuTimeHook(Hook):
    """Log the CPU time of this process in each iteration, as mmengine's IterTimerHook logs the wall-clock time.

    On a shared machine, the wall-clock time includes the work of others. Loader workers are separate processes and
    are not counted.
    """

    def before_train_epoch(self, runner: Any) -> None:
        """Restart the clock, to exclude the validation."""
        self.used = time.process_time()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Log the CPU seconds since the last iteration, including data loading in this process."""
        used = time.process_time()
        runner.message_hub.update_scalar("train/cpu_time", used - self.used)
        self.used = used


class PhaseHook(Hook):
    """Tell the clock of phases when training and validations begin and end."""

    # After the hooks that prepare the training.
    priority = "LOWEST"

    def before_train(self, runner: Any) -> None:
        """Begin the training."""
        CLOCK.enter(TRAINING)

    def after_train(self, runner: Any) -> None:
        """End the training."""
        CLOCK.leave()

    def before_val(self, runner: Any) -> None:
        """Begin a validation."""
        CLOCK.enter(VALIDATION)

    def after_val(self, runner: Any) -> None:
        """End a validation."""
        CLOCK.leave()
