"""Scores by class, and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.build import Report
from benchmarks.report.figures import Panel, draw_precision
from benchmarks.report.table import ABSENT
from benchmarks.results.per_class import ClassTable, read_class_table
from contract.tasks import TASKS

# Longer tables are folded.
MOST_CLASSES_OPEN = 24


@dataclass(frozen=True)
class ClassSection:
    """The classes of one task.

    Attributes:
        label: Label of the task.
        table: Scores by class and row.
        intro: Explanation of the table.
        folded: Whether the table is long and therefore folded.
        precision: A panel with the mean curve of each row, or empty.
        class_precision: A panel for each class.
    """

    label: str
    table: ClassTable
    intro: str
    folded: bool
    precision: Sequence[Panel]
    class_precision: Sequence[Panel]


def class_sections(report: Report) -> list[ClassSection]:
    """Return a section for each task with per-class evaluations."""
    found = [(task, read_class_table(report.run, task)) for task in TASKS]
    return [
        ClassSection(
            label=TASKS[task].label,
            table=table,
            intro=_intro(table),
            folded=len(table.classes) > MOST_CLASSES_OPEN,
            precision=_precision(report, task, table),
            class_precision=_class_precision(report, task, table),
        )
        for task, table in found
        if table is not None
    ]


def _intro(table: ClassTable) -> str:
    absent = sum(table.best(label) is None for label in range(len(table.classes)))
    sentences = ["Percent, means over seeds; counts are those of the test images."]
    if table.note:
        sentences.append(table.note)
    if absent:
        sentences.append(
            f"{absent} without an object in the test images ({ABSENT}) are left out of means."
        )
    return " ".join(sentences)


def _precision(report: Report, task: str, table: ClassTable) -> list[Panel]:
    spread = "mean over classes" + (" and seeds" if len(report.run.seeds) > 1 else "")
    svg = draw_precision(report, table.precision, f"{task}-all")
    return [] if svg is None else [Panel("Precision and recall", f"{spread}, at IoU 0.5", svg)]


def _class_precision(report: Report, task: str, table: ClassTable) -> list[Panel]:
    panels = []
    for label, name in enumerate(table.classes):
        lines = {row: by[name] for row, by in table.class_precision.items() if name in by}
        svg = draw_precision(report, lines, f"{task}-class-{label}")
        panels += [] if svg is None else [Panel(name, "", svg)]
    return panels
