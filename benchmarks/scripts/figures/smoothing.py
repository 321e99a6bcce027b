"""Draw the optimal gap between logits under label smoothing, and the gap of trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import backbones
from benchmarks.scripts.figures.drawing import INK, MUTED, PALETTE, write
from cls_train.assemble import CONFIGS
from contract.errors import UserError
from engine import config as configs
from engine.image_folder import ImageFolderDataset, transforms_of

CLASS_COUNTS = (10, 100, 1000)
BINS = 44
BATCH = 64


@dataclass(frozen=True)
class Measured:
    """The measured gaps of one network.

    Attributes:
        gaps: One per image, `(N,)`.
        num_classes: K.
        top1: From the checkpoint's metadata, in percent.
    """

    gaps: np.ndarray
    num_classes: int
    top1: float | None


def optimal_gap(epsilon: np.ndarray | float, num_classes: int) -> np.ndarray:
    """Return the optimal distance between the true logit and the others: log((K − 1)(1 − ε) / ε) (paper §5.2, Eq. 5).

    Args:
        epsilon: ε in (0, 1).
        num_classes: K ≥ 2.
    """
    epsilon = np.asarray(epsilon, dtype=float)
    return np.log((num_classes - 1) * (1 - epsilon) / epsilon)


def logit_gap(logits: Tensor) -> Tensor:
    """Return the largest logit minus the mean of the others, `(N, K)` to `(N,)` (paper, Fig. 4b)."""
    largest = logits.max(dim=1).values
    return largest - (logits.sum(dim=1) - largest) / (logits.shape[1] - 1)


@torch.no_grad()
def measure(checkpoint: Path, images: Path, config: str) -> Measured:
    """Run the classifier of a pretrained checkpoint over a split.

    Args:
        checkpoint: The `backbone.safetensors` of a classification run.
        images: A split in the ImageFolder layout.
        config: The config whose test pipeline reads the images.

    Raises:
        UserError: The split has another number of classes.
        CheckpointError: The file is missing, damaged, or contains no classifier.
    """
    network, head, metadata = backbones.load_classifier(checkpoint)
    recipe = configs.load(CONFIGS, config, (), {})
    dataset = ImageFolderDataset(str(images), transforms_of(recipe, "test_pipeline"))
    if not len(dataset.classes) == head.out_features > 1:
        raise UserError(
            f"{checkpoint} has {head.out_features} classes, {images} has {len(dataset.classes)}; "
            "name with --images a split of the data that it was trained on, of two classes or more"
        )
    order = (2, 1, 0) if metadata.channel_order == "BGR" else (0, 1, 2)
    mean, std = (torch.tensor(v)[:, None, None] for v in (metadata.mean, metadata.std))
    network.eval()
    gaps = []
    for start in range(0, len(dataset), BATCH):
        positions = range(start, min(start + BATCH, len(dataset)))
        inputs = torch.stack([dataset[position]["inputs"] for position in positions]).float()
        features = network((inputs[:, order] - mean) / std)[-1]
        gaps.append(logit_gap(head(features.mean(dim=(2, 3)))))
    return Measured(torch.cat(gaps).numpy(), head.out_features, metadata.top1)


def draw_smoothing(stem: Path, measured: Mapping[str, Measured]) -> list[Path]:
    """Write the figure: the optimal gap over ε, and the gaps of measured networks.

    Args:
        stem: The files' path without suffix.
        measured: Networks by name, all in one panel; may be empty.

    Returns:
        The paths written.
    """
    epsilon = configs.load(CONFIGS, "imagenet", ("label_smoothing",), {}).label_smoothing.epsilon

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
        _draw_optimum(panels[0], epsilon)
        if measured:
            _draw_measured(panels[1], measured, epsilon)

    return write(draw, (8.6 if measured else 4.5, 3.6), stem)


def _draw_optimum(axes: Axes, epsilon: float) -> None:
    values = np.linspace(0.002, 0.6, 400)
    axes.axvline(epsilon, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for classes, colour in zip(CLASS_COUNTS, PALETTE[: len(CLASS_COUNTS)], strict=True):
        axes.plot(values, optimal_gap(values, classes), color=colour)
        gap = float(optimal_gap(epsilon, classes))
        axes.plot(epsilon, gap, "o", color=colour, markeredgecolor="white", markersize=6)
        axes.annotate(
            f"{gap:.1f}", (epsilon, gap), (5, 5), textcoords="offset points", color=colour,
            weight="bold",
        )  # fmt: skip
        axes.annotate(
            f"K = {classes}", (0.6, optimal_gap(0.6, classes)), (-2, 12), ha="right",
            textcoords="offset points", color=colour,
        )  # fmt: skip
    axes.annotate(
        f"ε = {epsilon:g} of the trick", (epsilon, 0.015), (4, 0), color=MUTED,
        xycoords=("data", "axes fraction"), textcoords="offset points", va="bottom",
    )  # fmt: skip
    axes.set_xlim(0, 0.61)
    axes.set_ylim(0, 14)
    axes.set_xlabel("ε, the probability taken from the true class")
    axes.set_ylabel("optimal gap between logits")
    axes.set_title("What smoothing asks for: log((K − 1)(1 − ε) / ε)")


def _draw_measured(axes: Axes, measured: Mapping[str, Measured], epsilon: float) -> None:
    every = np.concatenate([one.gaps for one in measured.values()])
    edges = np.linspace(every.min(), every.max(), BINS + 1)
    for index, (name, one) in enumerate(measured.items()):
        colour = PALETTE[index % len(PALETTE)]
        label = f"{name}: mean {one.gaps.mean():.1f}, s.d. {one.gaps.std():.1f}"
        if one.top1 is not None:
            label += f", top-1 {one.top1:.1f}%"
        axes.hist(one.gaps, edges, density=True, color=colour, alpha=0.22)
        axes.hist(
            one.gaps, edges, density=True, histtype="step", color=colour, linewidth=1.6, label=label
        )
    peak = axes.get_ylim()[1]
    for classes in sorted({one.num_classes for one in measured.values()}):
        gap = float(optimal_gap(epsilon, classes))
        axes.plot([gap, gap], [0, 1.16 * peak], color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate(
            f"optimum for\nε = {epsilon:g}, K = {classes}", (gap, 1.16 * peak), (4, 0), va="top",
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    # Room above the bars for the label of the optimum and a legend entry per network.
    axes.set_ylim(0, peak * (1.2 + 0.09 * len(measured)))
    axes.set_xlabel("largest logit minus the mean of the others")
    axes.set_ylabel("density of the images")
    axes.set_title("What trained networks show")
    axes.legend(loc="upper right", borderaxespad=0, handlelength=1.4, fontsize=8.5)
