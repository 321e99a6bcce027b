"""Compare a run with the published figures and curves of its protocol.

A figure is compared with a row if config, backbone, recipe, tricks, metric and number of test images are the same,
there are no overrides, the learning rate is the config's, the task itself has no tricks, and trained batch statistics
are those of as many images.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.plan.document import RowEntry
from benchmarks.published.curves import Training, warnings
from benchmarks.published.figures import Figure, of_the_paper, published
from benchmarks.results.read import RunFolder, metric_values
from contract.result import Result
from contract.tasks import SOURCE, TASKS

# A trick that adds metrics and does not change the others.
FURTHER_TESTS = {"multi_scale_flip"}


@dataclass(frozen=True)
class Comparison:
    """The mean of a row beside a published figure of its protocol.

    Attributes:
        where: Row, task and metric.
        value: Mean over the row's seeds.
        figure: The published figure.
    """

    where: str
    value: float
    figure: Figure

    @property
    def inside(self) -> bool:
        """Whether the value is in the figure's band."""
        low, high = self.figure.band
        return low <= self.value <= high

    @property
    def text(self) -> str:
        """The comparison as one line of text."""
        low, high = self.figure.band
        verdict = "inside" if self.inside else "OUTSIDE"
        return f"{self.where}: {self.value:.2f} is {verdict} {low:.2f} to {high:.2f} ({self.figure.source})"


def compare(run: RunFolder) -> list[Comparison]:
    """Compare the means of a run with the figures of the same protocol; smoke and short runs have none."""
    if run.budget != "full":
        return []
    return [comparison for row in run.rows for comparison in _compare_row(run, row)]


def _compare_row(run: RunFolder, row: RowEntry) -> Iterator[Comparison]:
    for task, settings in run.tasks.items():
        records = run.of(row.name, task)
        results = [record.result for record in records if record.result is not None]
        changed = any(result.lr_factor != 1 for result in results)
        changed = changed or _has_tricks_of_its_own(task, results)
        if not results or settings.overrides or changed or other_statistics(results):
            continue
        config = str(settings.config)
        used = {result.data.test_images_used for result in results}
        of_the_row = of_the_paper(config, row.backbone, row.recipe, row.tricks, row.reference)
        for figure in (*published(), *of_the_row):
            values = metric_values(records, figure.metric)
            same = (
                (figure.task, figure.config) == (task, config)
                and (figure.backbone, figure.recipe, figure.tricks) == _pretraining(row)
                and used == {figure.test_images}
            )
            if same and values:
                mean = statistics.mean(values.values())
                yield Comparison(f"{row.name} · {task} · {figure.metric}", mean, figure)


def other_statistics(results: Iterable[Result]) -> tuple[int, int] | None:
    """Return the images behind trained batch statistics, and the published number, if a result has others."""
    for result in results:
        batch = result.batch
        if batch is None or batch.batch_norm_images is None:
            continue
        if batch.published_batch_norm_images not in (None, batch.batch_norm_images):
            return batch.batch_norm_images, batch.published_batch_norm_images
    return None


def not_compared(run: RunFolder) -> Iterator[str]:
    """Yield why rows cannot be compared although their options are the published ones."""
    for row in run.rows:
        for task in run.tasks:
            results = [r.result for r in run.of(row.name, task) if r.result is not None]
            found = other_statistics(results)
            if found is not None:
                yield (
                    f"{row.name} · {task}: not compared, because its batch statistics are those of {found[0]} images "
                    f"and the published ones those of {found[1]}."
                )


def _has_tricks_of_its_own(task: str, results: Iterable[Result]) -> bool:
    """Return whether a task after pretraining was trained or tested differently from its config."""
    used = {trick for result in results for trick in result.tricks}
    return TASKS[task].starts_from is not None and bool(used - FURTHER_TESTS)


def _pretraining(row: RowEntry) -> tuple[str, str, tuple[str, ...]]:
    recipe = row.recipe or ("weights" if row.pretrain else "none")
    return row.backbone, recipe, row.tricks


def curve_warnings(run: RunFolder) -> list[str]:
    """Return warnings on classifiers that are behind all published curves of their kind."""
    found = []
    rows = {row.name: row for row in (*run.rows, *run.teachers)}
    if run.budget != "full":
        return []
    for record in run.runs:
        if record.task != SOURCE or record.result is None or record.result.lr_factor != 1:
            continue
        points = record.curves.metric
        row, data = rows[record.row], record.result.data
        epochs = round(max((epoch for epoch, _ in points), default=0))
        training = Training(row.backbone, row.tricks, epochs, data.classes, data.test_images_used)
        found += [f"{record.name}: {sentence}" for sentence in warnings(training, points)[:1]]
    return found
