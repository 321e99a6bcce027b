"""Learning-rate schedules: convert a recipe's schedule to mmengine's schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mmengine.optim import LinearLR
from mmengine.registry import PARAM_SCHEDULERS

from contract.errors import UserError, unknown

# Configs count in epochs; mmengine converts them to iterations and steps after each iteration.
_PER_ITERATION = dict(by_epoch=True, convert_to_iter_based=True)


@PARAM_SCHEDULERS.register_module()
class WarmUp(LinearLR):
    """Learning rate i · η / m in iteration i = 1 … m (paper §3.1).

    mmengine's ramp has its start factor in the first of m iterations and 1 in the last. It equals the paper's with
    the start factor 1 / m, but m is known only after epochs are converted to iterations.

    Args:
        optimizer: The optimiser or its wrapper, whose learning rate is η.
        begin: The iteration before the first.
        end: `begin` + m.
        last_step: See mmengine.
        by_epoch: False; configs count in epochs with `convert_to_iter_based`.
        verbose: See mmengine.
    """

    def __init__(
        self,
        optimizer: Any,
        begin: int,
        end: int,
        last_step: int = -1,
        by_epoch: bool = False,
        verbose: bool = False,
    ) -> None:
        # In a shortened run, the warm-up may be less than one iteration.
        end = max(end, begin + 1)
        super().__init__(
            optimizer,
            start_factor=1 / (end - begin),
            begin=begin,
            end=end,
            last_step=last_step,
            by_epoch=by_epoch,
            verbose=verbose,
        )


def schedulers(schedule: Any, epochs: int, warmup_epochs: float) -> list[dict[str, Any]]:
    """Return the configs of mmengine's schedulers for a recipe's schedule.

    Args:
        schedule: `dict(type=…, …)`. With the base rate η, the (fractional) epoch t and w warm-up epochs:

            - `step`: η · gamma^(number of `milestones` ≤ t), milestones as fractions of the epochs;
            - `step_every`: η · gamma^⌊t / (every · epochs)⌋;
            - `exponential`: η · gamma^⌊t⌋;
            - `cosine`: η/2 (1 + cos(π (t − w) / (epochs − w)));
            - `polynomial`: η (1 − (t − w) / (epochs − w))^power, which in mmengine reaches 0 in the last iteration
                rather than after it;
            - `step_cosine`: `step` up to `switch` · epochs, then cosine to 0.
        epochs: Length of the training.
        warmup_epochs: Linear rise at the start; 0 for none.

    Raises:
        UserError: The type is unknown, or an argument is missing or unknown.
    """
    warmup = min(warmup_epochs, epochs)
    made = [dict(type="WarmUp", begin=0, end=warmup, **_PER_ITERATION)] if warmup else []
    arguments = dict(schedule)
    kind = arguments.pop("type")
    if kind not in SCHEDULES:
        raise unknown("schedule", kind, SCHEDULES)
    try:
        return made + SCHEDULES[kind](epochs, warmup, **arguments)
    except TypeError as error:
        raise UserError(f"the schedule {kind}: {error}") from None


def _step(
    epochs: int, warmup: float, *, milestones: list[float], gamma: float
) -> list[dict[str, Any]]:
    # Rounded first, because 8 / 120 · 120 is slightly more than 8.
    drops = [math.ceil(round(m * epochs, 6)) for m in milestones]
    return [
        dict(
            type="MultiStepLR", milestones=drops, gamma=gamma, begin=0, end=epochs, **_PER_ITERATION
        )
    ]


def _step_every(epochs: int, warmup: float, *, every: float, gamma: float) -> list[dict[str, Any]]:
    if not 0 < every <= 1:
        raise UserError(f"step_every every={every} was given; it is a fraction of the epochs")
    count = math.ceil(1 / every) - 1
    return _step(epochs, warmup, milestones=[(i + 1) * every for i in range(count)], gamma=gamma)


def _exponential(epochs: int, warmup: float, *, gamma: float) -> list[dict[str, Any]]:
    return [dict(type="ExponentialLR", gamma=gamma, begin=0, end=epochs, by_epoch=True)]


def _cosine(epochs: int, warmup: float) -> list[dict[str, Any]]:
    if epochs <= warmup:
        return []
    return [dict(type="CosineAnnealingLR", eta_min=0.0, begin=warmup, end=epochs, **_PER_ITERATION)]


def _polynomial(epochs: int, warmup: float, *, power: float) -> list[dict[str, Any]]:
    if epochs <= warmup:
        return []
    return [
        dict(type="PolyLR", power=power, eta_min=0.0, begin=warmup, end=epochs, **_PER_ITERATION)
    ]


def _step_cosine(
    epochs: int, warmup: float, *, milestones: list[float], gamma: float, switch: float
) -> list[dict[str, Any]]:
    middle = max(warmup, math.ceil(switch * epochs))
    first = [m for m in milestones if m < switch]
    return [
        *_step(epochs, warmup, milestones=first, gamma=gamma),
        *_cosine(epochs, middle),
    ]


SCHEDULES: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "step": _step,
    "step_every": _step_every,
    "exponential": _exponential,
    "cosine": _cosine,
    "polynomial": _polynomial,
    "step_cosine": _step_cosine,
}
