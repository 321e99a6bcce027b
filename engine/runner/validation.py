"""Keep the metrics of every validation, and run a validation that a killed run missed."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

# The name must not begin with "val", because mmengine logs all such values.
VALIDATION_HISTORY = "history_of_validations"


def is_validation_due(runner: Any, position: int) -> bool:
    """Return whether mmengine's loop validates at a position.

    Args:
        runner: mmengine's Runner.
        position: Completed epochs, or iterations in an iteration-based loop.
    """
    loop = runner.train_loop
    if runner.val_loop is None or position < loop.val_begin:
        return False
    end = loop.max_epochs if isinstance(loop, EpochBasedTrainLoop) else loop.max_iters
    return position % loop.val_interval == 0 or position == end


@HOOKS.register_module()
class ValidationHistoryHook(Hook):
    """Keep every validation's metrics, and run a validation that a killed run missed.

    A checkpoint is written before the validation of its epoch. A run that is resumed from there must run that
    validation, above all the last one.
    """

    priority = "VERY_LOW"

    def before_train(self, runner: Any) -> None:
        """Run a validation that is due at the resumed position."""
        if runner.iter == 0:
            return
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            due = is_validation_due(runner, loop.iter)
        else:
            # A run that was stopped within an epoch has done the validation of the epoch before.
            at_end = loop.iter * loop.max_epochs == loop.epoch * loop.max_iters
            due = at_end and is_validation_due(runner, loop.epoch)
        history = runner.message_hub.runtime_info.get(VALIDATION_HISTORY, [])
        if due and not (history and history[-1]["step"] == runner.iter):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Append the metrics with the iteration and epoch they belong to."""
        history = list(runner.message_hub.runtime_info.get(VALIDATION_HISTORY, []))
        history.append({"step": runner.iter, "metrics": dict(metrics or {})})
        runner.message_hub.update_info(VALIDATION_HISTORY, history)
