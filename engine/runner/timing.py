"""The seconds of a run by phase, and the CPU seconds of each iteration."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from contract.timing import CLOCK, TRAINING, VALIDATION


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
