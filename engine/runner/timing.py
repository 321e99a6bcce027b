"""The time that a run takes: wall-clock seconds over all its parts, and CPU seconds of each iteration."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS

ELAPSED = "elapsed_seconds"


@HOOKS.register_module()
class TimedCheckpointHook(CheckpointHook):
    """mmengine's checkpoints, carrying the time used so far."""

    def before_train(self, runner: Any) -> None:
        """Start the clock where the interrupted run stopped it."""
        super().before_train(runner)
        self._started = time.monotonic() - runner.message_hub.runtime_info.get(ELAPSED, 0.0)

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
    """Log what each iteration took of this process' own CPU time, as mmengine's IterTimerHook logs the clock's.

    On a machine that others share, the clock also counts their work. Loader workers are processes of their own and
    are not counted.
    """

    def before_train_epoch(self, runner: Any) -> None:
        """Start after what a validation took."""
        self.used = time.process_time()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Log the CPU seconds since the last iteration, data included where this process loads them."""
        used = time.process_time()
        runner.message_hub.update_scalar("train/cpu_time", used - self.used)
        self.used = used
