"""A factor on the learning rate of a config, as a sweep over learning rates gives it."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from contract.errors import UserError

# What a config states as a rate; all else in its optimiser and schedule is relative to these.
_OPTIMISER_RATES = ("lr", "final_lr")
_SCHEDULE_RATES = ("eta_min", "eta_max")


def scale_rates(config: Config, factor: float) -> None:
    """Multiply every rate of a Runner config, in place, so that the whole schedule is `factor` times the config's.

    The ends that schedules name (`eta_min`) and the one that AdaBound closes in on (`final_lr`) are rates too. The
    rule on the batch (`auto_scale_lr`) comes on top, when mmengine builds the optimiser.

    Args:
        config: With `optim_wrapper` and `param_scheduler`.
        factor: Above 0; 1 changes nothing.

    Raises:
        UserError: The optimiser has no `lr`.
    """
    if factor == 1:
        return
    optimiser = config.optim_wrapper.optimizer
    if "lr" not in optimiser:
        raise UserError(
            f"--lr-factor {factor:g} was given, and the config's optimiser {optimiser.type} states no lr; write its "
            "lr into the config"
        )
    _scale(optimiser, _OPTIMISER_RATES, factor)
    for scheduler in config.get("param_scheduler") or []:
        _scale(scheduler, _SCHEDULE_RATES, factor)


def _scale(node: ConfigDict, keys: tuple[str, ...], factor: float) -> None:
    for key in keys:
        if node.get(key) is not None:
            node[key] = node[key] * factor


__all__ = ["scale_rates"]
