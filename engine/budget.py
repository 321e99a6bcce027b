"""Training budgets: the full schedule, a part of it, or two iterations that only show that the code runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from contract.errors import unknown


@dataclass(frozen=True)
class Budget:
    """Limits on a task; None keeps the config's value.

    Attributes:
        fraction: Fraction of the training length, in (0, 1]; schedules shrink with it.
        iterations: Train exactly this many iterations.
        batch_size: Images per iteration of one process.
        test_images: Evaluate this many images, spread evenly over the test set.
        workers: Loader processes for the training images of a run that `iterations` limits; starting them often takes
            longer than such a run, so there are none by default.
    """

    fraction: float = 1.0
    iterations: int | None = None
    batch_size: int | None = None
    test_images: int | None = None
    workers: int = 0


DEFAULTS = {
    "full": Budget(),
    "short": Budget(fraction=0.25),
    "smoke": Budget(iterations=2, batch_size=2, test_images=4),
}


def resolve(name: str, overrides: dict[str, dict[str, Any]]) -> Budget:
    """Return the named budget, with the config's `budgets` laid over the default.

    Raises:
        UserError: The name, or a limit in the config, is unknown.
    """
    if name not in DEFAULTS:
        raise unknown("budget", name, DEFAULTS)
    known = [field.name for field in fields(Budget)]
    values = {key: getattr(DEFAULTS[name], key) for key in known}
    for key, value in overrides.get(name, {}).items():
        if key not in known:
            raise unknown(f"limit in budgets[{name!r}]:", key, known)
        values[key] = value
    return Budget(**values)


def shorten_schedule(config: Any, budget: Budget) -> None:
    """Cut the training loop and its learning-rate schedule of a Runner config to the budget."""
    loop = config.train_cfg
    length = "max_epochs" if "max_epochs" in loop else "max_iters"
    if budget.iterations is not None:
        # With epochs, the dataset is cut to this many batches instead.
        loop[length] = 1 if length == "max_epochs" else budget.iterations
        loop.val_interval = loop[length]
        return
    if budget.fraction == 1.0:
        return
    full = loop[length]
    loop[length] = max(1, round(full * budget.fraction))
    loop.val_interval = min(loop.get("val_interval", 1), loop[length])
    for scheduler in config.get("param_scheduler") or []:
        _shorten(scheduler, loop[length], full)


def _shorten(scheduler: Any, length: int, full: int) -> None:
    """Shorten a scheduler in the proportion `length` to `full`, rounding included."""
    # mmengine converts epochs to iterations, so durations may be fractions, and a short warm-up must be one.
    whole = not scheduler.get("convert_to_iter_based")
    for key in ("begin", "end", "T_max"):
        if key in scheduler:
            cut = scheduler[key] * length / full
            scheduler[key] = round(cut) if whole else cut
    if whole and scheduler.get("end") == scheduler.get("begin", 0):
        scheduler.end += 1
    if scheduler.get("type") == "ExponentialLR":
        scheduler.gamma **= full / length
    if "milestones" in scheduler:
        scheduler.milestones = [round(m * length / full) for m in scheduler.milestones]
