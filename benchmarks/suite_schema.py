"""What a suite file may hold. Mistakes are collected, so that one message tells them all."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from contract.errors import unknown
from contract.settings import PRECISIONS
from datasets.kinds import KINDS

SUITE_KEYS = (
    "base",
    "title",
    "description",
    "stages",
    "datasets",
    "seeds",
    "rows",
    "add_rows",
    "teachers",
    "columns",
    "intended",
)
# In the order of the plan: the classifiers first, since all others start from them.
STAGES = ("cls", "probe", "det", "seg")
STAGE_KEYS = ("config", "data", "set", "tricks")
DATASET_KEYS = ("kind", "path", "generate", "smoke")
SMOKE_KEYS = ("path", "generate")
# What rows may differ in on purpose; the suite says why, and the table repeats it.
INTENDED = ("protocol", "precision")
# Measures of transferability before a det or seg training, and their units.
SCORES = {"logme": "nats", "hscore": "ratio", "leep": "nats"}
SCORE_COLUMNS = tuple(f"{stage}_{name}" for stage in ("det", "seg") for name in SCORES)
# What a table can show; `benchmarks.columns` says how.
PERCENTAGES = (
    *("top1", "top5", "linear_top1", "knn_top1"),
    *("map", "voc07_map", "voc10_map", "coco_ap", "coco_ap50", "coco_ap75"),
    *("pixacc", "miou", "macc", "pixacc_ms", "miou_ms", "macc_ms"),
)
# Every stage has these costs.
COSTS = (
    *("parameters", "backbone_parameters", "multiply_adds", "backbone_multiply_adds"),
    *("latency", "latency_iqr", "inference_images_per_second", "inference_memory"),
    *("train_images_per_second", "train_images_per_cpu_second", "peak_memory"),
)


def cost_column(stage: str, cost: str) -> str:
    """Returns the name of a stage's cost among the columns; classification's have no prefix."""
    return cost if stage == "cls" else f"{stage}_{cost}"


COLUMNS = (
    *PERCENTAGES,
    *(cost_column(stage, cost) for stage in STAGES for cost in COSTS),
    "epoch_minutes",
    *SCORE_COLUMNS,
)
DEFAULT_COLUMNS = ("top1", "map", "pixacc", "miou")
# A row's `weights` that are no path: what the backbone's library publishes for it.
PUBLISHED = "published"

# A row's factor on the learning rate of each stage's config.
LR_KEYS = tuple(f"{stage}_lr" for stage in STAGES if stage != "probe")

# A row's keys and the type of each.
ROW_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "backbone": str,
    "pretrain": bool,
    "recipe": str,
    "tricks": (list, tuple),
    "teacher": str,
    "det_tricks": (list, tuple),
    "seg_tricks": (list, tuple),
    **{key: (int, float) for key in LR_KEYS},
    "precision": str,
    "weights": str,
    "requires": (list, tuple),
    "reference": dict,
    "note": str,
    "gpu_hours": (int, float),
    "like": str,
}
_TYPE_NAMES = {
    str: "string",
    bool: "bool",
    dict: "dict",
    (list, tuple): "list",
    (int, float): "number",
}

# A row's name is a folder's name on every file system, and no option of a command.
_SAFE_NAME = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._+=-]{0,79}")


def is_safe_name(name: str) -> bool:
    """Whether a row may have this name, which is also its folder's."""
    return _SAFE_NAME.fullmatch(name) is not None


def safe_name(text: str) -> str:
    """Returns `text` with what does not belong in a folder's name replaced by dashes."""
    name = re.sub(r"[^A-Za-z0-9._+=-]", "-", text).lstrip("-._=")[:80]
    return name or "row"


def check_suite(raw: Mapping[str, Any]) -> list[str]:
    """Returns every mistake in the values of a suite, as sentences; none if it is sound."""
    problems = []
    for key in ("title", "description"):
        if not isinstance(raw.get(key, ""), str):
            problems.append(f"{key} is not a string, but {raw[key]!r}.")
    problems += _check_datasets(raw.get("datasets"))
    problems += _check_stages(raw.get("stages"), raw.get("datasets"))
    problems += _check_seeds(raw.get("seeds", [0]))
    problems += _check_rows(raw.get("rows"), raw.get("stages"))
    problems += _check_teachers(raw.get("teachers", []), raw.get("rows"), raw.get("stages"))
    problems += _check_columns(raw.get("columns", DEFAULT_COLUMNS))
    for key, reason in _dict(raw.get("intended")).items():
        if key not in INTENDED:
            problems.append(f"intended: {unknown('difference', str(key), INTENDED)}")
        elif not isinstance(reason, str):
            problems.append(f"intended: {key} is {reason!r}; say in a sentence why rows differ.")
    return problems


def _check_columns(columns: Any) -> list[str]:
    if not isinstance(columns, list | tuple) or not columns:
        return [f"columns is {columns!r}; it must be a list, such as {list(DEFAULT_COLUMNS)}."]
    problems = [
        f"columns: {unknown('column', str(name), COLUMNS)}"
        for name in columns
        if name not in COLUMNS
    ]
    if len(set(map(str, columns))) < len(columns):
        problems.append(f"columns {list(columns)} names a column twice.")
    return problems


def _check_teachers(teachers: Any, rows: Any, stages: Any) -> list[str]:
    """Checks the teachers like rows, and that rows name only teachers that there are."""
    if not isinstance(teachers, list | tuple):
        return ["teachers is not a list of dict(name=…, backbone=…, recipe=…)."]
    problems = [f"teachers, {p}" for p in _check_rows(teachers, stages)] if teachers else []
    for teacher in filter(lambda entry: isinstance(entry, dict), teachers):
        where = f"teacher {teacher.get('name')!r}"
        if teacher.get("pretrain", True) is False or teacher.get("weights"):
            problems.append(f"{where}: a teacher is trained here, with a recipe.")
        if teacher.get("teacher"):
            problems.append(f"{where}: a teacher has no teacher of its own.")
    names = {str(teacher.get("name")) for teacher in teachers if isinstance(teacher, dict)}
    for row in filter(lambda entry: isinstance(entry, dict), _list(rows)):
        where = f"row {row.get('name')!r}"
        if row.get("name") in names:
            problems.append(f"{where}: a teacher has the same name; give each its own.")
        if row.get("teacher") is not None and row["teacher"] not in names:
            problems.append(f"{where}: {unknown('teacher', str(row['teacher']), sorted(names))}")
    return problems


def _check_seeds(seeds: Any) -> list[str]:
    sound = isinstance(seeds, list | tuple | range) and all(
        isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds
    )
    if not sound or not seeds:
        return [f"seeds is {seeds!r}; it must be a list of whole numbers, such as [0, 1, 2]."]
    if len(set(seeds)) < len(seeds):
        return [f"seeds {list(seeds)} names a seed twice."]
    return []


def _check_stages(stages: Any, datasets: Any) -> list[str]:
    if not isinstance(stages, dict) or not stages:
        return ["stages is missing; give dict(cls=dict(config=…, data=…), det=…, seg=…)."]
    problems = []
    for name, stage in stages.items():
        where = f"stage {name!r}"
        if name not in STAGES:
            problems.append(str(unknown("stage", name, STAGES)))
        problems += _check_entry(where, stage, STAGE_KEYS, required=("config", "data"))
        if not isinstance(stage, dict):
            continue
        if not isinstance(stage.get("tricks", []), list | tuple):
            problems.append(f"{where}: tricks is not a list of names, but {stage['tricks']!r}.")
        if not isinstance(stage.get("set", {}), dict):
            problems.append(f"{where}: set is not a dict of config keys, but {stage['set']!r}.")
        data = stage.get("data")
        if data is not None and isinstance(datasets, dict) and data not in datasets:
            problems.append(f"{where}: {unknown('dataset', str(data), sorted(datasets))}")
    return problems


def _check_datasets(datasets: Any) -> list[str]:
    if not isinstance(datasets, dict) or not datasets:
        return ["datasets is missing; give dict(cls=dict(kind=…, path=…), …)."]
    problems = []
    for name, dataset in datasets.items():
        where = f"dataset {name!r}"
        problems += _check_entry(where, dataset, DATASET_KEYS, required=("kind", "path"))
        if not isinstance(dataset, dict):
            continue
        kind = dataset.get("kind")
        if kind is not None and kind not in KINDS:
            problems.append(f"{where}: {unknown('kind', str(kind), KINDS)}")
        if dataset.get("smoke") is not None:
            where = f"{where}, smoke"
            problems += _check_entry(where, dataset["smoke"], SMOKE_KEYS, required=("path",))
    return problems


def _check_rows(rows: Any, stages: Any) -> list[str]:
    if not isinstance(rows, list | tuple) or not rows:
        return ["rows is missing; give a list of dict(name=…, backbone=…, recipe=…)."]
    problems: list[str] = []
    earlier: dict[str, dict[str, Any]] = {}
    for position, row in enumerate(rows, start=1):
        name = row.get("name") if isinstance(row, dict) else None
        where = f"row {name!r}" if isinstance(name, str) else f"row {position}"
        problems += _check_entry(where, row, tuple(ROW_KEYS), required=("name", "backbone"))
        if not isinstance(row, dict):
            continue
        problems += _check_row_types(where, row)
        like, resolved = row.get("like"), resolve_like(row, earlier)
        if like is None or like in earlier:
            problems += _check_pretraining(where, resolved, stages)
        else:
            candidates = sorted(earlier)
            problems.append(f"{where}: {unknown('row above it', str(like), candidates)}")
        if not isinstance(name, str):
            continue
        if not is_safe_name(name):
            problems.append(
                f"{where}: the name is also a folder's; use letters, digits and . _ + = - only, "
                f"for example {safe_name(name)!r}."
            )
        twin = next((other for other in earlier if other.casefold() == name.casefold()), None)
        if twin is not None:
            problems.append(f"{where}: another row is called {twin!r}; give each its own name.")
        earlier[name] = resolved
    return problems


def _check_row_types(where: str, row: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, expected in ROW_KEYS.items():
        value = row.get(key)
        if value is None or isinstance(value, expected):
            continue
        kind = _TYPE_NAMES[expected]
        problems.append(f"{where}: {key} is {value!r}; it must be a {kind}.")
    for metric, figure in _dict(row.get("reference")).items():
        if metric not in COLUMNS:
            problems.append(f"{where}: {unknown('reference', str(metric), COLUMNS)}")
        elif not isinstance(figure, int | float) or (figure < 0 and metric not in SCORE_COLUMNS):
            problems.append(f"{where}: reference {metric} is {figure!r}, which is no figure.")
        elif metric in PERCENTAGES and figure > 100:
            problems.append(f"{where}: reference {metric} is {figure!r}, which is no percentage.")
    for key in LR_KEYS:
        factor = row.get(key)
        if isinstance(factor, int | float) and (factor is True or not 0 < factor < math.inf):
            problems.append(
                f"{where}: {key} is {factor!r}; it must be a finite number above 0, which the learning rate of the "
                "stage's config is multiplied by."
            )
    if row.get("precision") is not None and row["precision"] not in PRECISIONS:
        problems.append(f"{where}: {unknown('precision', str(row['precision']), PRECISIONS)}")
    for key in ("tricks", "det_tricks", "seg_tricks"):
        named = _list(row.get(key))
        if len(set(map(str, named))) < len(named):
            problems.append(f"{where}: {key} names a trick twice.")
    tricks = _list(row.get("tricks"))
    if "like" not in row:
        problems += [
            f"{where}: requires names {name!r}, which is not among its tricks."
            for name in _list(row.get("requires"))
            if name not in tricks
        ]
    return problems


def resolve_like(
    row: Mapping[str, Any], earlier: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Fills in what `like` copies from a row above: how it is pretrained, not its backbone."""
    values = {key: value for key, value in row.items() if key != "like"}
    model = earlier.get(str(row.get("like")), {})
    pretrained_elsewhere = row.get("weights") or row.get("pretrain") is False
    copied: tuple[str, ...] = ("det_tricks", "seg_tricks", "det_lr", "seg_lr", "precision")
    if not pretrained_elsewhere:
        copied += ("pretrain", "recipe", "tricks", "requires", "teacher", "cls_lr")
    return {**{key: model[key] for key in copied if key in model}, **values}


def _check_pretraining(where: str, row: Mapping[str, Any], stages: Any) -> list[str]:
    """Checks that exactly one of scratch, own pretraining and foreign weights is asked for."""
    trained = [key for key in ("recipe", "tricks", "teacher", "cls_lr") if row.get(key)]
    if row.get("pretrain", True) is False:
        extra = [*trained, *(["weights"] if row.get("weights") else [])]
        if extra:
            return [f"{where}: pretrain=False and {' and '.join(extra)} contradict each other."]
        return []
    if row.get("weights"):
        if trained:
            return [f"{where}: give either weights or {' and '.join(trained)}, not both."]
        return []
    if row.get("recipe") is None:
        return [f"{where}: give a recipe, weights, or pretrain=False for random weights."]
    if isinstance(stages, dict) and "cls" not in stages:
        return [f"{where}: it is pretrained here, but the suite has no stage 'cls'."]
    return []


def _check_entry(
    where: str, entry: Any, keys: tuple[str, ...], required: tuple[str, ...]
) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{where} is not a dict, but {entry!r}."]
    problems = [f"{where}: {unknown('key', str(key), keys)}" for key in entry if key not in keys]
    problems += [f"{where}: {key} is missing." for key in required if entry.get(key) is None]
    return problems


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
