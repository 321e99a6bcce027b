"""The report's section on single classes."""

from __future__ import annotations

from html import escape

from benchmarks.by_class import ClassTable, read_class_table
from benchmarks.figures import draw_precision
from benchmarks.report_sections import panels, plain_table, row_key, section
from benchmarks.results import Run
from benchmarks.table_notes import STAGE_LABELS

# More classes lie folded.
MOST_CLASSES_OPEN = 24


def classes_section(run: Run) -> str:
    """Scores by class, and detection's precision against recall."""
    parts = []
    for stage in ("det", "seg"):
        table = read_class_table(run, stage)
        if table is None:
            continue
        spread = "mean over classes" + (" and seeds" if len(run.seeds) > 1 else "")
        curves = panels(
            [
                (
                    "Precision and recall",
                    f"{spread}, at IoU 0.5",
                    draw_precision(run, table.precision),
                )
            ]
        )
        single = panels(
            (name, "", draw_precision(run, lines, f"class-{label}"))
            for label, name in enumerate(table.classes)
            if (lines := {r: by[name] for r, by in table.class_precision.items() if name in by})
        )
        if single:
            curves += f"<details><summary>Precision and recall by class</summary>{single}</details>"
        parts.append(
            f"<h3>{STAGE_LABELS[stage].capitalize()}: {escape(table.score)} by class</h3>"
            + _class_scores(run, table)
            + curves
        )
    return section("By class", row_key(run) + "".join(parts) if parts else "")


def _class_scores(run: Run, table: ClassTable) -> str:
    """One line a class; the best of each is bold."""
    lines = []
    for label, name in enumerate(table.classes):
        values = [table.values[row][label] for row in table.values]
        best = max((value for value in values if value is not None), default=None)
        counts = [f"{column[label]:,}" for column in table.counts.values()]
        shown = [
            "—"
            if value is None
            else f"<b>{value:.1f}</b>"
            if value and value == best
            else f"{value:.1f}"
            for value in values
        ]
        lines.append([escape(name), *counts, *shown])
    laid_out = plain_table(["class", *table.counts, *table.values], lines)
    absent = sum(
        all(values[i] is None for values in table.values.values()) for i in range(len(lines))
    )
    said = ["Percent, means over seeds; counts are those of the test images."]
    if "difficult" in table.counts:
        said.append("Difficult objects count neither as found nor as missed.")
    if absent:
        said.append(f"{absent} without an object in the test images (—) are left out of means.")
    intro = f'<p class="quiet">{" ".join(said)}</p>'
    if len(lines) <= MOST_CLASSES_OPEN:
        return intro + laid_out
    return f"{intro}<details><summary>{len(lines)} classes</summary>{laid_out}</details>"
