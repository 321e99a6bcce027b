"""The table of tasks: one entry for each of `cls`, `probe`, `det` and `seg`, with the names of its results.

Tasks and harness read this data, and a test compares each entry with the task itself. A new task needs a package and
an entry here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["score", "estimate", "count", "measured"]

# Decimals of a score: as in Tables 8 and 9 of 1812.01187, because our tables show those figures beside ours.
DECIMALS = 2
# Tricks of every dense task; a trick of the same name in the task's own folder replaces it.
DENSE_TRICKS = PurePosixPath("engine/dense/configs/tricks")


@dataclass(frozen=True)
class Quantity:
    """A number that a task reports.

    Attributes:
        name: Name in `result.json`.
        label: Name in tables and figures.
        unit: Unit of its values: `%`, for which the evaluator reports a fraction; another one; `ratio` if it has none.
        higher_is_better: None if neither direction is better.
        kind: `score`; `estimate` (of a score, before training); `count` (exact, the same in every run); `measured` (a
            time or a memory size, which differs between runs).
        decimals: Digits after the decimal point; None for three significant digits.
        required: Whether every result of the task has it.
        by_default: Whether tables show it if a suite names no columns.
    """

    name: str
    label: str
    unit: str = "%"
    higher_is_better: bool | None = True
    kind: Kind = "score"
    decimals: int | None = DECIMALS
    required: bool = False
    by_default: bool = False


@dataclass(frozen=True)
class ClassScore:
    """A score that is reported per class.

    Attributes:
        key: Key in `evaluation.json`, whose values are fractions.
        label: Name in headings.
        protocol: Tables show this score if the protocol's `metric` contains this word; the first that fits is shown.
        higher_is_better: Whether a higher score is better.
    """

    key: str
    label: str
    protocol: str = ""
    higher_is_better: bool = True


@dataclass(frozen=True)
class PerClass:
    """What a task writes about each class in `evaluation.json`.

    Attributes:
        scores: Candidates; the report shows one of them.
        counts: Keys of the counts in the test images; also used as labels.
        note: A sentence on how to read the scores.
        precision: Whether it includes the precision at `contract.result.RECALLS`.
    """

    scores: tuple[ClassScore, ...]
    counts: tuple[str, ...] = ()
    note: str = ""
    precision: bool = False


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: Name in suites, options and `result.json`.
        label: Name in sentences and headings.
        module: The module that `python -m` runs.
        configs: Folder of its configs, relative to the repository.
        layouts: Dataset layouts that it reads; the first one is assumed if a folder's layout is not recognised.
        metrics: Its scores.
        main_metric: The score that learning rates are chosen by and that figures show.
        starts_from: The task whose pretrained checkpoint it starts from; None if it makes that checkpoint.
        tricks: Folders of its tricks, relative to the repository; the first folder that contains a trick is used.
            Empty if it has none.
        recipes: Folder of its recipes; None if it has none.
        trains: Whether it trains step by step, with a learning rate, curves and checkpoints to resume from.
        holds_out: Whether it can be tested on held-out training images, which `sweep` needs.
        pictures: Heading of its example pictures; None if it draws none.
        estimates: Whether transferability is estimated before it trains.
        per_class: What it writes about each class; None if the report has no per-class table.
        further_costs: Costs in addition to `COSTS`.
    """

    name: str
    label: str
    module: str
    configs: PurePosixPath
    layouts: tuple[str, ...]
    metrics: tuple[Quantity, ...]
    main_metric: str
    starts_from: str | None = None
    tricks: tuple[PurePosixPath, ...] = ()
    recipes: PurePosixPath | None = None
    trains: bool = True
    holds_out: bool = False
    pictures: str | None = None
    estimates: bool = False
    per_class: PerClass | None = None
    further_costs: tuple[Quantity, ...] = ()

    def metric(self, name: str) -> Quantity:
        """Return the score of that name."""
        return next(metric for metric in self.metrics if metric.name == name)

    @property
    def main(self) -> Quantity:
        """The main metric."""
        return self.metric(self.main_metric)

    def cost_column(self, cost: str) -> str:
        """Return the name of one of the task's costs among a table's columns."""
        return cost if self.starts_from is None else f"{self.name}_{cost}"

    def columns(self) -> dict[str, Quantity]:
        """Return the quantities that a table can show, by column name: scores, costs, then estimates."""
        found = {metric.name: metric for metric in self.metrics}
        found |= {self.cost_column(cost.name): cost for cost in (*COSTS, *self.further_costs)}
        if self.estimates:
            found |= {f"{self.name}_{estimate.name}": estimate for estimate in ESTIMATES}
        return found


# In the order of a plan: classifiers first, since all other tasks start from them.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="cls",
            label="classification",
            module="cls_train.train",
            configs=PurePosixPath("cls_train/configs"),
            layouts=("imagefolder",),
            metrics=(
                Quantity("top1", "top-1", required=True, by_default=True),
                Quantity("top5", "top-5"),
            ),
            main_metric="top1",
            tricks=(PurePosixPath("cls_train/configs/tricks"),),
            recipes=PurePosixPath("cls_train/configs/recipes"),
            further_costs=(
                Quantity("epoch_minutes", "epoch", "min", higher_is_better=False, kind="measured"),
            ),
        ),
        Task(
            name="probe",
            label="probe",
            module="probe",
            configs=PurePosixPath("probe/configs"),
            layouts=("imagefolder",),
            metrics=(
                Quantity("linear_top1", "linear probe", required=True),
                Quantity("knn_top1", "k-NN", required=True),
            ),
            main_metric="linear_top1",
            starts_from="cls",
            trains=False,
        ),
        Task(
            name="det",
            label="detection",
            module="det.train",
            configs=PurePosixPath("det/configs"),
            layouts=("voc", "coco"),
            metrics=(
                Quantity("map", "mAP", required=True, by_default=True),
                Quantity("voc07_map", "mAP, 11 points"),
                Quantity("voc10_map", "mAP, area"),
                Quantity("coco_ap", "COCO AP"),
                Quantity("coco_ap50", "COCO AP50"),
                Quantity("coco_ap75", "COCO AP75"),
            ),
            main_metric="map",
            starts_from="cls",
            tricks=(PurePosixPath("det/configs/tricks"), DENSE_TRICKS),
            holds_out=True,
            pictures="Detections",
            estimates=True,
            per_class=PerClass(
                scores=(
                    ClassScore("voc10_ap", "AP (by area)", protocol="area"),
                    ClassScore("voc07_ap", "AP (11 points)"),
                ),
                counts=("objects", "difficult"),
                note="Difficult objects count neither as found nor as missed.",
                precision=True,
            ),
        ),
        Task(
            name="seg",
            label="segmentation",
            module="seg.train",
            configs=PurePosixPath("seg/configs"),
            layouts=("ade20k",),
            metrics=(
                Quantity("pixacc", "PixAcc", required=True, by_default=True),
                Quantity("miou", "mIoU", required=True, by_default=True),
                Quantity("macc", "mAcc"),
                Quantity("pixacc_ms", "PixAcc, ms+flip"),
                Quantity("miou_ms", "mIoU, ms+flip"),
                Quantity("macc_ms", "mAcc, ms+flip"),
            ),
            main_metric="miou",
            starts_from="cls",
            tricks=(PurePosixPath("seg/configs/tricks"), DENSE_TRICKS),
            holds_out=True,
            pictures="Label maps",
            estimates=True,
            per_class=PerClass(scores=(ClassScore("iou", "IoU"),), counts=("pixels",)),
        ),
    )
}

# The task that writes the pretrained checkpoint, and the tasks that start from it.
SOURCE = next(task.name for task in TASKS.values() if task.starts_from is None)
TRANSFERS = tuple(task.name for task in TASKS.values() if task.starts_from is not None)

# Costs that every task reports.
COSTS = (
    Quantity("parameters", "parameters", "M", False, "count", None),
    Quantity("backbone_parameters", "backbone parameters", "M", False, "count", None),
    Quantity("multiply_adds", "multiply-adds", "G", False, "count", None),
    Quantity("backbone_multiply_adds", "backbone multiply-adds", "G", False, "count", None),
    Quantity("latency", "latency", "ms", False, "measured", 1),
    Quantity("latency_iqr", "latency IQR", "ms", False, "measured", 1),
    Quantity("inference_images_per_second", "inference", "images/s", True, "measured", 1),
    Quantity("inference_memory", "inference memory", "MiB", False, "measured", 0),
    Quantity("train_images_per_second", "training", "images/s", True, "measured", 1),
    Quantity("train_images_per_cpu_second", "training", "images/CPU s", True, "measured", 1),
    Quantity("peak_memory", "peak memory", "MiB", False, "measured", 0),
)

# Transferability, estimated before a task with `Task.estimates` trains. The LogME values of two good backbones differ
# by hundredths of a nat.
ESTIMATES = (
    Quantity("logme", "LogME", "nats", None, "estimate", 3),
    Quantity("hscore", "H-score", "ratio", None, "estimate", 3),
    Quantity("leep", "LEEP", "nats", None, "estimate", 3),
)
