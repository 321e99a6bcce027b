"""Published figures with their protocol, and a run's agreement with those of the same.

`figures.csv` holds figures of single stages with the runs behind them; those of the paper's tables stand in the suites.
A figure belongs to a cell where config, backbone, recipe, tricks, metric and the number of test images are the same,
nothing was overridden, the learning rate is the config's, and the stage has no tricks of its own; any other pair is
not compared.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scipy import stats

from benchmarks.reference.curves import TEST_IMAGES, Training, warnings
from benchmarks.results import Result, Row, Run, metric_values, read_curves

FILE = Path(__file__).with_name("figures.csv")
# Half the width of the band around a figure of the paper, which are of one run each. GluonCV's published and logged
# figures of one recipe differ by up to 0.5 points; the paper does not state the protocol of its mAP and mIoU.
PAPER_BAND = {"top1": 0.5}
# A trick that adds metrics and leaves the others as they are.
FURTHER_TESTS = {"multi_scale_flip"}
IMAGENET = "cls_train/configs/imagenet.py"


@dataclass(frozen=True)
class Figure:
    """A published number and the protocol that it belongs to.

    Attributes:
        stage: `cls`, `det` or `seg`.
        config: Of the stage, relative to the repository.
        backbone: Spec.
        recipe: Of the classifier; `weights` for weights from elsewhere, `none` for random ones.
        tricks: Of the classifier.
        metric: As in `result.json`.
        values: The figure, by run where several are known.
        band: Between what a run of this protocol is expected, both ends included.
        test_images: That it was measured on.
        source: Where it stands.
    """

    stage: str
    config: str
    backbone: str
    recipe: str
    tricks: tuple[str, ...]
    metric: str
    values: tuple[float, ...]
    band: tuple[float, float]
    test_images: int
    source: str


@dataclass(frozen=True)
class Comparison:
    """A mean of a run beside a figure of its protocol.

    Attributes:
        where: Row, stage and metric.
        value: Mean over the run's seeds.
        figure: What it is compared with.
    """

    where: str
    value: float
    figure: Figure

    @property
    def inside(self) -> bool:
        """Whether the value lies in the figure's band."""
        low, high = self.figure.band
        return low <= self.value <= high

    @property
    def text(self) -> str:
        """The comparison in one line."""
        low, high = self.figure.band
        verdict = "inside" if self.inside else "OUTSIDE"
        return f"{self.where}: {self.value:.2f} is {verdict} {low:.2f} to {high:.2f} ({self.figure.source})"


def prediction_band(values: Sequence[float]) -> tuple[float, float]:
    """Between what one more run of the same protocol falls in 95 of 100 cases.

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
        stage=row["stage"],
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


def compare(run: Run) -> list[Comparison]:
    """Hold the means of a run against every figure of the same protocol; smoke and short runs have none."""
    if run.budget != "full":
        return []
    return [comparison for row in run.rows for comparison in _compare_row(run, row)]


def _compare_row(run: Run, row: Row) -> Iterator[Comparison]:
    for stage, settings in run.stages.items():
        cells = run.of(row.name, stage)
        results = [cell.result for cell in cells if cell.result is not None]
        changed = any(result.lr_factor != 1 for result in results)
        changed = changed or _has_tricks_of_its_own(stage, results)
        if not results or settings.get("overrides") or changed:
            continue
        used = {result.data.test_images_used for result in results}
        for figure in (*published(), *_of_the_paper(row, str(settings["config"]))):
            values = metric_values(cells, figure.metric)
            same = (
                (figure.stage, figure.config) == (stage, settings["config"])
                and (figure.backbone, figure.recipe, figure.tricks) == _pretraining(row)
                and used == {figure.test_images}
            )
            if same and values:
                mean = statistics.mean(values.values())
                yield Comparison(f"{row.name} · {stage} · {figure.metric}", mean, figure)


def _has_tricks_of_its_own(stage: str, results: Iterable[Result]) -> bool:
    """Whether a detector or segmentor was trained or tested in another way than its config says."""
    used = {trick for result in results for trick in result.tricks}
    return stage != "cls" and bool(used - FURTHER_TESTS)


def _pretraining(row: Row) -> tuple[str, str, tuple[str, ...]]:
    recipe = row.recipe or ("weights" if row.pretrain else "none")
    return row.backbone, recipe, row.tricks


def _of_the_paper(row: Row, config: str) -> Iterable[Figure]:
    """The paper's own figures of a row, where it states how they were made."""
    if config != IMAGENET or row.recipe is None:
        return
    for metric, half in PAPER_BAND.items():
        if metric in row.reference:
            value = row.reference[metric]
            yield Figure(
                "cls", config, row.backbone, row.recipe, row.tricks, metric, (value,), (value - half, value + half),
                TEST_IMAGES, "1812.01187, one run; width of the band from GluonCV's published and logged figures",
            )  # fmt: skip


def curve_warnings(run: Run) -> list[str]:
    """Say which classifiers learnt more slowly than all published trainings of their kind."""
    found = []
    rows = {row.name: row for row in (*run.rows, *run.teachers)}
    if run.budget != "full":
        return []
    for cell in run.cells:
        if cell.stage != "cls" or cell.result is None or cell.result.lr_factor != 1:
            continue
        points = read_curves(cell.result).metric
        row, data = rows[cell.row], cell.result.data
        epochs = round(max((epoch for epoch, _ in points), default=0))
        training = Training(row.backbone, row.tricks, epochs, data.classes, data.test_images_used)
        found += [
            f"{cell.row} · cls · seed {cell.seed}: {sentence}"
            for sentence in warnings(training, points)[:1]
        ]
    return found
