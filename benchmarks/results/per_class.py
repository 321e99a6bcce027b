"""Per-class scores from the `evaluation.json` beside each result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.results.read import RunFolder
from contract.result import RECALLS
from contract.tasks import TASKS, ClassScore, PerClass


@dataclass(frozen=True)
class ClassTable:
    """Scores by class and row, averaged over a row's seeds.

    Attributes:
        score: Label of the score, for example `IoU`.
        classes: In label order.
        counts: Counts in the test images, one per class, by name of the count.
        values: Percentages, one per class, by row; None if no test image contains the class.
        precision: Mean precision over classes and seeds at `RECALLS`, in percent, by row; empty if the task has no
            precision.
        class_precision: The same for each class, by row.
        note: Explanation of the scores; may be empty.
        higher_is_better: Whether a higher score is better.
    """

    score: str
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    values: Mapping[str, tuple[float | None, ...]]
    precision: Mapping[str, tuple[float, ...]]
    class_precision: Mapping[str, Mapping[str, tuple[float, ...]]]
    note: str
    higher_is_better: bool = True

    def best(self, label: int) -> float | None:
        """Return the best value of a class over the rows; None if no test image contains it."""
        values = [value for row in self.values.values() if (value := row[label]) is not None]
        choose = max if self.higher_is_better else min
        return choose(values, default=None)


def read_class_table(run: RunFolder, task: str) -> ClassTable | None:
    """Collect the evaluations of a task.

    Returns:
        The table, or None if no completed run has a per-class evaluation.

    Raises:
        UserError: An existing file cannot be parsed.
    """
    schema = TASKS[task].per_class
    evaluated = [record for record in run.runs if record.task == task and record.classes]
    if schema is None or not evaluated:
        return None
    first = evaluated[0].classes
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in evaluated:
        # Runs on other data than the first run have other classes and do not fit its table.
        if list(record.classes) == list(first):
            found.setdefault(record.row, []).append(record.classes)
    rows = {row.name: found[row.name] for row in run.rows if row.name in found}
    result = evaluated[-1].result
    score = _score(schema, str(result.protocol.get("metric", "")) if result else "")
    curves = {row: _precision(seeds) for row, seeds in rows.items()} if schema.precision else {}
    return ClassTable(
        score=score.label,
        classes=tuple(first),
        counts={
            name: tuple(int(entry[name]) for entry in first.values()) for name in schema.counts
        },
        values={
            row: tuple(_mean([classes[name].get(score.key) for classes in seeds]) for name in first)
            for row, seeds in rows.items()
        },
        precision={
            row: tuple(100 * np.mean(list(classes.values()), axis=0))
            for row, classes in curves.items()
            if classes
        },
        class_precision={
            row: {name: tuple(100 * np.asarray(values)) for name, values in classes.items()}
            for row, classes in curves.items()
        },
        note=schema.note,
        higher_is_better=score.higher_is_better,
    )


def _score(schema: PerClass, protocol: str) -> ClassScore:
    """Return the score that belongs to a protocol's `metric`."""
    fitting = (score for score in schema.scores if score.protocol in protocol)
    return next(fitting, schema.scores[-1])


def _precision(seeds: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the precision of each class with objects, averaged over seeds."""
    return {
        name: np.mean([classes[name]["precision"] for classes in seeds], axis=0)
        for name in seeds[0]
        if all(len(classes[name].get("precision", ())) == len(RECALLS) for classes in seeds)
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return 100 * float(np.mean(known)) if known else None
