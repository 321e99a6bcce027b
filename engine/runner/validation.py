"""Keep the metrics of every validation, and catch up with one that a killed run missed."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

# The name must not begin with "val": mmengine logs whatever does.
VALIDATION_HISTORY = "history_of_validations"


@HOOKS.register_module()
class ValidationHistoryHook(Hook):
    """Keep every validation's metrics, and validate where a killed run had not come to it.

    A checkpoint is written before the validation of its epoch. A run that is resumed from there owes that
    validation, the last one above all.
    """

    priority = "VERY_LOW"

    def before_train(self, runner: Any) -> None:
        """Catch up with a validation that is due at the resumed position."""
        if runner.iter == 0:
            return
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        position, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        due = position % loop.val_interval == 0 or position == end
        history = runner.message_hub.runtime_info.get(VALIDATION_HISTORY, [])
        if due and not (history and history[-1]["step"] == runner.iter):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Append the metrics with the iteration and epoch they belong to."""
        history = list(runner.message_hub.runtime_info.get(VALIDATION_HISTORY, []))
        history.append({"step": runner.iter, "metrics": dict(metrics or {})})
        runner.message_hub.update_info(VALIDATION_HISTORY, history)
