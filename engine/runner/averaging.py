"""Exponentially averaged weights, with a mean age in epochs.

A momentum fits only one size of dataset: 0.0002 averages over an epoch of ImageNet in batches of 256, but over the
whole training on a small set.
"""

from __future__ import annotations

from typing import Any, cast

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage, is_model_wrapper
from mmengine.registry import HOOKS, MODELS
from torch import Tensor, nn

from contract.errors import UserError

# Above it, the newest weights would count more than all earlier ones together; mmengine warns about that.
LARGEST_MOMENTUM = 0.5


@MODELS.register_module()
class DebiasedAverage(ExponentialMovingAverage):
    """The exponential average of the weights so far, with bias correction.

    After t steps it is Σ (1 − m)^(t − i) w_i / Σ (1 − m)^(t − i) over the weights w_1 … w_t. In mmengine's average,
    w_1, one step away from random, would have the weight (1 − m)^(t − 1), more than a third if training is as long as
    the average's mean age. The correction is Adam's (1412.6980, §3).
    """

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: Any) -> None:
        """Move the average, made of `steps` weights so far, towards the newest ones, in place."""
        share = self.momentum / (1 - (1 - self.momentum) ** (int(steps) + 1))
        averaged_param.lerp_(source_param, share)


@HOOKS.register_module()
class EpochEMAHook(EMAHook):
    """Average weights and batch statistics over training, and evaluate the average.

    As in mmengine's `EMAHook`, the average replaces the model in validation and in a checkpoint's `state_dict`. The
    trained weights are then in `ema_state_dict`; both are restored on resumption.

    Args:
        epochs: Mean age of the averaged weights, in epochs of the training loader; the newest count as one step old.
            With n steps an epoch the momentum is 1 / (epochs · n), at most 0.5. If the config repeats its data, an
            epoch includes the repetitions.

    Raises:
        UserError: `epochs` is not above 0.
    """

    def __init__(self, epochs: float = 1.0) -> None:
        if not epochs > 0:
            raise UserError(
                f"EpochEMAHook got epochs={epochs!r}; the mean age of the averaged weights must be above 0, such as 1.0"
            )
        super().__init__(ema_type=DebiasedAverage.__name__, strict_load=True, update_buffers=True)
        self.epochs = epochs

    def before_run(self, runner: Any) -> None:
        """Create the average; the length of an epoch is known only now."""
        iterations = len(runner.train_dataloader)
        momentum = min(LARGEST_MOMENTUM, 1 / (self.epochs * iterations))
        cast(Any, self.ema_cfg)["momentum"] = momentum
        super().before_run(runner)
        runner.logger.info(
            f"weights are averaged with momentum {momentum:.3g}: {self.epochs:g} epoch(s) "
            f"of {iterations} iterations"
        )


def wire_average(config: Config) -> None:
    """Move the hook in a task's key `ema` (or None) into the Runner's hooks, in place."""
    hook = config.pop("ema", None)
    if hook is not None:
        config.custom_hooks = [*(config.get("custom_hooks") or []), hook]


def measured_model(runner: Any) -> nn.Module:
    """Return the network that validation measures: the averaged one if weights are averaged."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            return hook.ema_model.module
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def describe_weights(config: Config) -> dict[str, str]:
    """Return the protocol's entry on averaged weights; empty if the weights of the last iteration are evaluated."""
    for hook in config.get("custom_hooks") or []:
        if hook.type == EpochEMAHook.__name__:
            age = hook.get("epochs", 1.0)
            return {"weights": f"exponential moving average, mean age {age:g} epoch(s)"}
    return {}
