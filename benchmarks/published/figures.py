"""Published figures with their protocol.

`figures.csv` contains figures of single tasks with their runs; the figures of the paper's tables are in the suites.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scipy import stats

from benchmarks.published.curves import TEST_IMAGES
from contract.tasks import SOURCE

FILE = Path(__file__).with_name("figures.csv")
# Half the width of the band around a figure of the paper, which is from a single run. GluonCV's published and logged
# figures of a recipe differ by up to 0.5 points; the paper does not state the protocol of its mAP and mIoU.
PAPER_BAND = {"top1": 0.5}
IMAGENET = "cls_train/configs/imagenet.py"


@dataclass(frozen=True)
class Figure:
    """A published number and its protocol.

    Attributes:
        task: Whose score it is.
        config: The task's config, relative to the repository.
        backbone: Spec.
        recipe: The classifier's recipe; `weights` for imported weights, `none` for random ones.
        tricks: The classifier's tricks.
        metric: As in `result.json`.
        values: The figure, by run if several are known.
        band: The expected range of a run with this protocol, both ends included.
        test_images: Number of test images.
        source: Where it was published.
    """

    task: str
    config: str
    backbone: str
    recipe: str
    tricks: tuple[str, ...]
    metric: str
    values: tuple[float, ...]
    band: tuple[float, float]
    test_images: int
    source: str


def prediction_band(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% prediction interval of another run with the same protocol.

    Source: mean ± t · s · √(1 + 1/n), Student's t with n − 1 degrees of freedom (Hahn and Meeker, Statistical
    Intervals, 1991).

    Raises:
        ValueError: There are fewer than two values.
    """
    count = len(values)
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    half = float(stats.t.ppf(0.975, count - 1)) * deviation * math.sqrt(1 + 1 / count)
    return mean - half, mean + half


@cache
def published() -> tuple[Figure, ...]:
    """Read `figures.csv`."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_figure(row) for row in csv.DictReader(file))


def _figure(row: dict[str, str]) -> Figure:
    values = tuple(float(value) for value in row["values"].split(";"))
    stated = row["low"] and row["high"]
    return Figure(
        task=row["task"],
        config=row["config"],
        backbone=row["backbone"],
        recipe=row["recipe"],
        tricks=tuple(filter(None, row["tricks"].split(";"))),
        metric=row["metric"],
        values=values,
        band=(float(row["low"]), float(row["high"])) if stated else prediction_band(values),
        test_images=int(row["test_images"]),
        source=row["source"],
    )


def of_the_paper(
    config: str,
    backbone: str,
    recipe: str | None,
    tricks: tuple[str, ...],
    reference: Mapping[str, float],
) -> Iterable[Figure]:
    """Yield the paper's figures of a suite's row, if the paper states their protocol.

    Args:
        config: The task's config.
        backbone: The row's backbone.
        recipe: The row's recipe; None if it trains no classifier.
        tricks: The tricks of the row's classifier.
        reference: The row's published figures by metric.
    """
    if config != IMAGENET or recipe is None:
        return
    for metric, half in PAPER_BAND.items():
        if metric in reference:
            value = reference[metric]
            yield Figure(
                SOURCE, config, backbone, recipe, tricks, metric, (value,), (value - half, value + half), TEST_IMAGES,
                "1812.01187, one run; width of the band from GluonCV's published and logged figures",
            )  # fmt: skip
