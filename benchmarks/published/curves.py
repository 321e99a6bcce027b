"""Published learning curves on ImageNet, which reveal a failing training in the first epochs.

`curves.csv` holds top-1 by epoch, as points of GluonCV's logs and of the paper's Fig. 3 (1812.01187, read off its
vector graphics). A training is compared with the curves of the same network and schedule by the best top-1 so far,
because single validations at a high learning rate drop by up to seven points.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contract.tasks import SOURCE, TASKS

FILE = Path(__file__).with_name("curves.csv")
# ImageNet's; a user's own data with the same config have no reference.
CLASSES, TEST_IMAGES = 1000, 50_000
# During the warm-up, a curve depends more on the warm-up than on the training.
FIRST_EPOCH = 5
# Percentage points below the lowest reference curve. Each of ResNet-50's curves is up to 3.0 below the others.
MARGIN = 4.0

# A network's name (tweaks are alternatives), its schedule, its epochs, and its reference curves.
_REFERENCES = (
    (r"resnet50(_[bcd])?", "cosine", 120, ("gluoncv-resnet50_v1", "gluoncv-resnet50_v1b", "gluoncv-resnet50_v1c",
                                           "gluoncv-resnet50_v1d", "paper-fig3-cosine")),
    (r"resnet50(_[bcd])?", "step", 120, ("paper-fig3-step",)),
    (r"resnet50(_[bcd])?", "cosine", 200, ("gluoncv-resnet50_v1d-mixup",)),
    (r"resnet101(_[bcd])?", "cosine", 120, ("gluoncv-resnet101_v1d",)),
    (r"resnet101(_[bcd])?", "cosine", 200, ("gluoncv-resnet101_v1d-mixup",)),
    (r"resnet152(_[bcd])?", "cosine", 200, ("gluoncv-resnet152_v1d-mixup",)),
    (r"inception_v3", "cosine", 200, ("gluoncv-inceptionv3-mixup",)),
    (r"mobilenet_v1", "cosine", 200, ("gluoncv-mobilenet1.0-mixup",)),
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """The properties that select the reference curves of a training.

    Attributes:
        backbone: Spec.
        tricks: Tricks of its row.
        epochs: Length of the whole training.
        classes: Number of classes.
        test_images: Number of images on which top-1 is measured.
    """

    backbone: str
    tricks: tuple[str, ...]
    epochs: int
    classes: int
    test_images: int


def warning(training: Training, epoch: int, best: float) -> str | None:
    """Return a warning if a training is behind all of its reference curves.

    Args:
        training: Its network, schedule and data.
        epoch: Epochs done, from 1.
        best: The best top-1 so far, percent.

    Returns:
        A sentence; None if it is not behind or has no reference curves.
    """
    names = references(training)
    if not names or epoch <= FIRST_EPOCH or epoch > training.epochs:
        return None
    # A curve's epochs count from 0.
    known = [
        max(top1 for e, top1 in curves()[name].items() if e < epoch)
        for name in names
        if curves()[name]
    ]
    if not known or best >= min(known) - MARGIN:
        return None
    had = f"{min(known):.1f}" + (f" to {max(known):.1f}" if len(known) > 1 else "")
    return (
        f"top-1 is at best {best:.1f} after epoch {epoch}, where {', '.join(names)} had {had}; "
        "look at the data, the learning rate for this batch, and the loss before going on"
    )


def references(training: Training) -> tuple[str, ...]:
    """Return the names of the reference curves of a training; none if its data are not ImageNet."""
    if (training.classes, training.test_images) != (CLASSES, TEST_IMAGES):
        return ()
    schedule = "cosine" if "cosine" in training.tricks else "step"
    if {"exponential", "polynomial", "step_cosine", "step_every"} & set(training.tricks):
        return ()
    for pattern, kind, epochs, names in _REFERENCES:
        if re.fullmatch(pattern, training.backbone) and (kind, epochs) == (
            schedule,
            training.epochs,
        ):
            return names
    return ()


def warnings(training: Training, points: Iterable[tuple[float, float]]) -> list[str]:
    """Return the warnings of a whole curve, given as (epochs done, top-1)."""
    found, best = [], 0.0
    for epoch, top1 in points:
        best = max(best, top1)
        found.append(warning(training, round(epoch), best))
    return [sentence for sentence in found if sentence is not None]


def validation_warning(
    backbone: str, tricks: tuple[str, ...], report: Mapping[str, Any]
) -> str | None:
    """Return the warning for a validation that a running classifier reports in a progress line."""
    best = report["best"].get(TASKS[SOURCE].main_metric)
    if report.get("stage") != SOURCE or best is None:
        return None
    training = Training(
        backbone, tricks, report["epochs"], report["classes"], report["test_images"]
    )
    return warning(training, report["epoch"], best)


@cache
def curves() -> Mapping[str, Mapping[int, float]]:
    """Read the reference curves: top-1 in percent by name and epoch, which counts from 0."""
    found: dict[str, dict[int, float]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["curve"], {})[int(row["epoch"])] = float(row["top1"])
    return found
