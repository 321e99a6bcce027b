"""Draw the distributions of the mixing weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from benchmarks.scripts.figures.drawing import DASHES, MUTED, PALETTE, write
from cls_train.assemble import CONFIGS
from engine import config as configs

# For comparison with the tricks' values.
OTHERS = (0.5, 2.0)
# Names of the parameter in the modules of `cls_train.mixing`.
PARAMETERS = ("alpha", "beta")


def mixing_alphas() -> dict[str, float]:
    """Return the parameter of Beta(α, α) of every trick that mixes a batch, from its config file."""
    found = {}
    for trick in configs.names(CONFIGS / "tricks"):
        for slot in configs.load(CONFIGS, "imagenet", (trick,), {}).batch_mixing.values():
            for parameter in PARAMETERS:
                if parameter in slot:
                    found[trick] = float(slot[parameter])
    return dict(sorted(found.items(), key=lambda item: item[1]))


def draw_beta(stem: Path) -> list[Path]:
    """Write the figure: the density of λ, and how often the smaller weight stays below a bound.

    Args:
        stem: The files' path without suffix.

    Returns:
        The paths written.
    """
    curves = [(f"{trick}: α = {alpha:g}", alpha) for trick, alpha in mixing_alphas().items()]
    known = len(curves)
    curves += [(f"α = {alpha:g}", alpha) for alpha in OTHERS if alpha not in dict(curves).values()]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for index, (label, alpha) in enumerate(curves):
            mine = index < known
            line = dict(
                color=PALETTE[index % len(PALETTE)] if mine else MUTED,
                linestyle=DASHES[index % len(DASHES)],
                linewidth=1.9 if mine else 1.1,
                label=label,
            )
            weight = np.linspace(0.001, 0.999, 999)
            left.plot(weight, stats.beta.pdf(weight, alpha, alpha), **line)
            weights = np.linspace(0, 0.5, 501)
            # λ and 1 − λ have the same distribution: both tails count.
            right.plot(weights, 200 * stats.beta.cdf(weights, alpha, alpha), **line)
        _label_axes(left, right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(curves))

    return write(draw, (8.6, 3.7), stem)


def _label_axes(left: Axes, right: Axes) -> None:
    left.set_title("Density")
    left.set_xlim(0, 1)
    left.set_ylim(0, 2.6)
    left.set_xlabel("weight λ of the first image")
    left.set_ylabel("density of Beta(α, α)")
    right.set_title("How little is mixed")
    right.set_xlim(0, 0.5)
    right.set_ylim(0, 100)
    right.set_xlabel("share x of the lesser image")
    right.set_ylabel("draws with a lesser share ≤ x (%)")
