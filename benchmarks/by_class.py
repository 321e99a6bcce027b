"""What an evaluation found class by class, from the `evaluation.json` beside a result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.result_file import RUN_AGAIN, Result, open_document
from benchmarks.results import Run

# Precision is stored at the recalls 0, 0.01 … 1.
RECALLS = tuple(round(step / 100, 2) for step in range(101))
_COUNTS = {"det": {"objects": "objects", "difficult": "difficult"}, "seg": {"pixels": "pixels"}}


@dataclass(frozen=True)
class ClassTable:
    """Scores by class and row, means over a row's seeds.

    Attributes:
        score: What is shown: `AP` by 11 points or by area, or `IoU`.
        classes: In label order.
        counts: By name of the count (objects, difficult objects, pixels), one number a class; of the test images.
        values: By row, one percentage a class; None where no test image shows the class.
        precision: By row, the mean over classes and seeds of the precision at `RECALLS`, in percent; det only.
        class_precision: By row, the same class by class.
    """

    score: str
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    values: Mapping[str, tuple[float | None, ...]]
    precision: Mapping[str, tuple[float, ...]]
    class_precision: Mapping[str, Mapping[str, tuple[float, ...]]]


def read_class_table(run: Run, stage: str) -> ClassTable | None:
    """Collect the evaluations of a stage; None where no completed cell has one.

    Raises:
        UserError: A file is there and cannot be parsed.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    protocol = ""
    for cell in run.cells:
        if cell.stage == stage and cell.result is not None:
            by_class = _read(cell.result)
            if by_class:
                found.setdefault(cell.row, []).append(by_class)
                protocol = str(cell.result.protocol.get("metric", ""))
    if not found:
        return None
    first = next(iter(found.values()))[0]
    # Cells on other data than the first one's have other classes, and no place in its table.
    same = {
        row: kept
        for row, seeds in found.items()
        if (kept := [by_class for by_class in seeds if list(by_class) == list(first)])
    }
    rows = {row.name: same[row.name] for row in run.rows if row.name in same}
    by_area = "area" in protocol
    key = "iou" if stage == "seg" else "voc10_ap" if by_area else "voc07_ap"
    curves = {row: _precision(seeds) for row, seeds in rows.items()} if stage == "det" else {}
    return ClassTable(
        score="IoU" if stage == "seg" else f"AP ({'by area' if by_area else '11 points'})",
        classes=tuple(first),
        counts={
            label: tuple(int(entry[name]) for entry in first.values())
            for name, label in _COUNTS[stage].items()
        },
        values={
            row: tuple(_mean([by_class[name].get(key) for by_class in seeds]) for name in first)
            for row, seeds in rows.items()
        },
        precision={
            row: tuple(100 * np.mean(list(by_class.values()), axis=0))
            for row, by_class in curves.items()
            if by_class
        },
        class_precision={
            row: {name: tuple(100 * np.asarray(values)) for name, values in by_class.items()}
            for row, by_class in curves.items()
        },
    )


def _read(result: Result) -> Mapping[str, Any]:
    name = result.artifacts.get("evaluation")
    path = result.path.parent / str(name)
    if not name or not path.exists():
        return {}
    return open_document(path, RUN_AGAIN).get("classes", dict)


def _precision(seeds: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The precision of each class that has objects, mean over seeds."""
    return {
        name: np.mean([by_class[name]["precision"] for by_class in seeds], axis=0)
        for name in seeds[0]
        if all(len(by_class[name].get("precision", ())) == len(RECALLS) for by_class in seeds)
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return 100 * float(np.mean(known)) if known else None
