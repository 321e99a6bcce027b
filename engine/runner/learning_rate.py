"""Learning rates: a factor on all rates of a config, and the multipliers that a network declares."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict

from contract.errors import UserError

# Absolute rates in a config; everything else in its optimiser and schedule is relative to these.
_OPTIMISER_RATES = ("lr", "final_lr")
_SCHEDULE_RATES = ("eta_min", "eta_max")


def scale_rates(config: Config, factor: float) -> None:
    """Multiply every rate of a Runner config, in place: the whole schedule becomes `factor` times the config's.

    The final rates of schedules (`eta_min`) and of AdaBound (`final_lr`) are rates too. Scaling by the batch
    (`auto_scale_lr`) is applied in addition, when mmengine builds the optimiser.

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


def apply_multipliers(runner: Any) -> None:
    """Apply the learning-rate multipliers of the network, before the Runner builds its optimiser.

    Args:
        runner: Has a built model, whose backbone may declare `lr_multipliers()`, and the optimiser's config.
    """
    model = runner.model.module if hasattr(runner.model, "module") else runner.model
    multipliers = model.backbone.net.lr_multipliers()
    for wrapper in (runner.optim_wrapper, runner.cfg.get("optim_wrapper")):
        if isinstance(wrapper, dict):
            add_multipliers(wrapper, multipliers)


def add_multipliers(optim_wrapper: Any, multipliers: dict[str, float]) -> None:
    """Add learning-rate factors to the config of an optimiser wrapper, in place.

    Args:
        optim_wrapper: The config.
        multipliers: Factors by the name of the module whose parameters they apply to.
    """
    if not multipliers:
        return
    rules = optim_wrapper.setdefault("paramwise_cfg", ConfigDict())
    keys = rules.setdefault("custom_keys", ConfigDict())
    for name, factor in multipliers.items():
        keys[f".{name}."] = ConfigDict(lr_mult=factor)
        if rules.get("flat_decay_mult") is not None:
            # A custom key would disable the rule for one-dimensional parameters.
            keys[f".{name}.bias"] = ConfigDict(lr_mult=factor, decay_mult=rules.flat_decay_mult)
