"""Stop a training whose loss is not finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from contract.errors import UserError


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop at the first loss that is not a finite number.

    Raises:
        UserError: With epoch, iteration, the loss terms and the current learning rate.
    """

    priority = "HIGH"

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the loss that mmengine's RuntimeInfoHook has just stored."""
        if math.isfinite(runner.message_hub.get_scalar("train/loss").current()):
            return
        terms = {name: float(torch.as_tensor(v).detach()) for name, v in (outputs or {}).items()}
        lr = runner.optim_wrapper.get_lr()["lr"][0]
        raise UserError(
            f"the loss became {terms.get('loss')} in epoch {runner.epoch + 1}, iteration {runner.iter + 1} "
            f"(terms {terms}, learning rate {lr:.4g}); lower the learning rate, lengthen the warm-up, or "
            "look at the data with `python -m benchmarks data verify`"
        )
