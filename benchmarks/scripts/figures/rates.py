"""Draw the learning rate of every schedule over the paper's training, using the real schedulers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from benchmarks.scripts.figures.drawing import DASHES, PALETTE, write
from cls_train import optimisers  # noqa: F401  (registers the optimisers)
from cls_train.assemble import CONFIGS, optimiser_config
from cls_train.schedules import schedulers
from engine import config as configs

CONFIG = "imagenet"
# Batch 1024 with its learning rate and warm-up (paper §3.1), under every schedule.
LARGE_BATCH = ("large_batch", "linear_scaling", "warmup")
# Enough for a smooth curve.
STEPS_PER_EPOCH = 20
LOWEST_DRAWN = 1e-4


def schedule_recipes() -> dict[str, Config]:
    """Return the config of every schedule by its name: the base config's, then that of every trick that sets one."""
    base = configs.load(CONFIGS, CONFIG, LARGE_BATCH, {})
    found = {base.schedule.type: base}
    for trick in configs.names(CONFIGS / "tricks"):
        if trick in LARGE_BATCH:
            continue
        recipe = configs.load(CONFIGS, CONFIG, (*LARGE_BATCH, trick), {})
        if recipe.schedule != base.schedule:
            found[trick] = recipe
    return found


def learning_rates(recipe: Any, steps_per_epoch: int) -> list[float]:
    """Return the learning rate of every iteration of a training, as mmengine's loop sets it.

    Args:
        recipe: A loaded config.
        steps_per_epoch: Iterations in an epoch.
    """
    epochs = max(1, round(recipe.epochs * recipe.epochs_factor))
    wrapper = build_optim_wrapper(nn.Linear(1, 1), optimiser_config(recipe))
    built = [
        PARAM_SCHEDULERS.build(
            config, default_args=dict(optimizer=wrapper, epoch_length=steps_per_epoch)
        )
        for config in schedulers(
            recipe.schedule, epochs, recipe.warmup_epochs if recipe.warmup else 0
        )
    ]
    rates = []
    for step in range(1, epochs * steps_per_epoch + 1):
        rates.append(wrapper.get_lr()["lr"][0])
        wrapper.step()  # has no effect without gradients; torch checks the order of the calls
        for scheduler in built:
            # As in mmengine's ParamSchedulerHook.
            if not scheduler.by_epoch or step % steps_per_epoch == 0:
                scheduler.step()
    return rates


def draw_rates(stem: Path) -> list[Path]:
    """Write the figure: all schedules on a linear and on a logarithmic scale.

    Args:
        stem: The files' path without suffix.

    Returns:
        The paths written.
    """
    recipes = schedule_recipes()
    curves = {name: learning_rates(recipe, STEPS_PER_EPOCH) for name, recipe in recipes.items()}

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for index, (name, rates) in enumerate(curves.items()):
            # A rate applies to its whole iteration, which starts at this time.
            times = torch.arange(len(rates)) / STEPS_PER_EPOCH
            colour, dashes = PALETTE[index % len(PALETTE)], DASHES[index % len(DASHES)]
            label = _described(name, recipes[name].schedule)
            for axes in (left, right):
                axes.plot(times, rates, color=colour, linestyle=dashes, label=label)
        highest = max(map(max, curves.values()))
        base = recipes[next(iter(recipes))]
        left.set_ylim(0, 1.04 * highest)
        batch = base.batch_size * base.batch_size_factor
        left.set_title(
            f"Batch {batch}: η = {highest:g} after {base.warmup_epochs} epochs of warm-up"
        )
        right.set_yscale("log")
        right.set_ylim(LOWEST_DRAWN, 1.5 * highest)
        right.set_title("The same on a logarithmic scale")
        for axes in (left, right):
            axes.set_xlim(0, len(next(iter(curves.values()))) / STEPS_PER_EPOCH)
            axes.set_xlabel("epoch")
            axes.set_ylabel("learning rate η")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, handlelength=3.2)

    return write(draw, (8.6, 4.3), stem)


def _described(name: str, schedule: Any) -> str:
    """Return a schedule's name with its arguments."""
    words = [
        f"{key} {_number(value)}"
        for key, value in schedule.items()
        if key not in ("type", "_delete_")
    ]
    return f"{name}: {'; '.join(words)}" if words else name


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_number, value))
    return f"{value:.3g}"
