"""The columns that a table can have: scores, counts, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.suite_schema import SCORES, STAGES, cost_column

SCORE, PROMISE, COUNT, MEASURED = "score", "promise", "count", "measured"
DECIMALS = 2
VARIES = "†"
VARIES_LEGEND = (
    f"{VARIES}: measured, so it differs from run to run and from machine to machine; only ratios within one run on "
    "one machine count."
)


@dataclass(frozen=True)
class MetricColumn:
    """One metric or cost of the table.

    Attributes:
        name: As in `result.json`; a cost of det or seg has the stage before it.
        label: As shown.
        stage: Whose results have it.
        unit: Of its values.
        merit: 1 where higher is better, -1 where lower is, 0 where neither.
        kind: `score`; `promise` (of a score, before the training); `count` (exact, the same in every run); `measured`
            (a time or memory, never the same twice).
        decimals: Shown behind the point; None for three significant digits, since counts span orders of magnitude.
    """

    name: str
    label: str
    stage: str
    unit: str = "%"
    merit: int = 1
    kind: str = SCORE
    decimals: int | None = (
        DECIMALS  # as in Tables 8 and 9 of the paper, whose figures stand beside ours
    )

    @property
    def heading(self) -> str:
        """The label, a unit that is not percent, the direction that is better, and the mark of what varies."""
        unit = "" if self.unit == "%" else f" ({self.unit})"
        mark = f" {VARIES}" if self.kind == MEASURED else ""
        return f"{self.label}{unit}{('', ' ↑', ' ↓')[self.merit]}{mark}"


# Name, label, unit, merit, kind, decimals of what every stage costs.
_COSTS: tuple[tuple[str, str, str, int, str, int | None], ...] = (
    ("parameters", "parameters", "M", -1, COUNT, None),
    ("backbone_parameters", "backbone parameters", "M", -1, COUNT, None),
    ("multiply_adds", "multiply-adds", "G", -1, COUNT, None),
    ("backbone_multiply_adds", "backbone multiply-adds", "G", -1, COUNT, None),
    ("latency", "latency", "ms", -1, MEASURED, 1),
    ("latency_iqr", "latency IQR", "ms", -1, MEASURED, 1),
    ("inference_images_per_second", "inference", "images/s", 1, MEASURED, 1),
    ("inference_memory", "inference memory", "MiB", -1, MEASURED, 0),
    ("train_images_per_second", "training", "images/s", 1, MEASURED, 1),
    ("train_images_per_cpu_second", "training", "images/CPU s", 1, MEASURED, 1),
    ("peak_memory", "peak memory", "MiB", -1, MEASURED, 0),
)


def _cost_columns(stage: str) -> tuple[MetricColumn, ...]:
    prefix = "" if stage == "cls" else f"{stage} "
    return tuple(
        MetricColumn(cost_column(stage, name), prefix + label, stage, unit, merit, kind, decimals)
        for name, label, unit, merit, kind, decimals in _COSTS
    )


COST_COLUMNS = {stage: _cost_columns(stage) for stage in STAGES}
SCORE_LABELS = {"logme": "LogME", "hscore": "H-score", "leep": "LEEP"}
SCORE_DECIMALS = 3  # LogME of two good backbones differs by hundredths of a nat
PROMISE_COLUMNS = tuple(
    MetricColumn(
        f"{stage}_{name}", f"{label}, {stage}", stage, SCORES[name], 0, PROMISE, SCORE_DECIMALS
    )
    for stage in ("det", "seg")
    for name, label in SCORE_LABELS.items()
)
EPOCH_MINUTES = MetricColumn("epoch_minutes", "epoch", "cls", "min", -1, MEASURED)
KNOWN_COLUMNS = {
    column.name: column
    for column in (
        MetricColumn("top1", "top-1", "cls"),
        MetricColumn("top5", "top-5", "cls"),
        MetricColumn("linear_top1", "linear probe", "probe"),
        MetricColumn("knn_top1", "k-NN", "probe"),
        MetricColumn("map", "mAP", "det"),
        MetricColumn("voc07_map", "mAP, 11 points", "det"),
        MetricColumn("voc10_map", "mAP, area", "det"),
        MetricColumn("coco_ap", "COCO AP", "det"),
        MetricColumn("coco_ap50", "COCO AP50", "det"),
        MetricColumn("coco_ap75", "COCO AP75", "det"),
        MetricColumn("pixacc", "PixAcc", "seg"),
        MetricColumn("miou", "mIoU", "seg"),
        MetricColumn("macc", "mAcc", "seg"),
        MetricColumn("pixacc_ms", "PixAcc, ms+flip", "seg"),
        MetricColumn("miou_ms", "mIoU, ms+flip", "seg"),
        MetricColumn("macc_ms", "mAcc, ms+flip", "seg"),
        *(column for stage in STAGES for column in COST_COLUMNS[stage]),
        EPOCH_MINUTES,
        *PROMISE_COLUMNS,
    )
}
