"""Check the values of a suite; all mistakes are collected for one message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from benchmarks.suite.model import Head, Row, SmokeFolder, TaskOptions, TaskSetup, WrittenDataset
from benchmarks.suite.names import FLAT_KEYS, is_safe_name, safe_name, task_keys
from contract.errors import unknown
from contract.models import Model, problems
from contract.tasks import SOURCE, TASKS, TRANSFERS

SUITE_KEYS = (
    *("base", "title", "description", "tasks", "stages", "datasets", "seeds", "rows", "add_rows"),
    *("teachers", "columns", "intended"),
)
_OWN_KEYS = (
    *("name", "backbone", "like", "pretrain", "precision", "weights", "reference", "note"),
    "gpu_hours",
)
ROW_KEYS = (*_OWN_KEYS, *FLAT_KEYS, *TASKS)
_EXPLAINED = {
    "lr": " It is a finite factor above 0 on the learning rate of the task's config, such as 0.3."
}
_TASK_KEYS = ("config", "data", "set", "tricks")


class _WrittenRow(Model):
    """The keys of a row in a suite file that do not belong to single tasks."""

    like: str | None = None
    weights: str | None = None


def split_row(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return a row's own keys and its settings for single tasks; None means that a key is not given."""
    own = {key: value for key, value in row.items() if key in _OWN_KEYS and value is not None}
    tasks: dict[str, dict[str, Any]] = {}
    for key, (task, option) in FLAT_KEYS.items():
        if row.get(key) is not None:
            tasks.setdefault(task, {})[option] = row[key]
    for task in TASKS:
        for option, value in _dict(row.get(task)).items():
            if value is not None:
                tasks.setdefault(task, {})[option] = value
    return own, tasks


def resolve_like(
    row: Mapping[str, Any], earlier: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a row with the settings that `like` copies from an earlier row: its training, not its backbone.

    Args:
        row: The row as written.
        earlier: Resolved rows by name.

    Returns:
        The row's own keys, and `tasks` with its options by task.
    """
    own, tasks = split_row(row)
    model = earlier.get(str(own.pop("like", None)), {})
    pretrained_elsewhere = own.get("weights") or own.get("pretrain") is False
    copied = TRANSFERS if pretrained_elsewhere else tuple(TASKS)
    keys = ("precision",) if pretrained_elsewhere else ("precision", "pretrain")
    given = _dict(model.get("tasks"))
    merged = {
        task: {**(given.get(task, {}) if task in copied else {}), **tasks.get(task, {})}
        for task in TASKS
    }
    inherited = {key: model[key] for key in keys if key in model}
    return {**inherited, **own, "tasks": {task: o for task, o in merged.items() if o}}


def check_suite(raw: Mapping[str, Any]) -> list[str]:
    """Return all mistakes in the values of a suite, as sentences."""
    head = {key: value for key, value in raw.items() if key in Head.model_fields}
    found = list(_fit(Head, head, "", Head.model_fields))
    found += _check_datasets(raw.get("datasets"))
    found += _check_tasks(raw.get("tasks"), raw.get("datasets"))
    found += _check_rows(raw.get("rows"), raw.get("tasks"))
    found += _check_teachers(raw.get("teachers", []), raw.get("rows"), raw.get("tasks"))
    return found


def _fit(model: type[Model], values: Any, where: str, keys: Iterable[str] = ()) -> Iterator[str]:
    """Yield the values that do not fit a model, prefixed with their location."""
    if not isinstance(values, dict):
        yield f"{where} is not a dict, but {values!r}."
        return
    prefix = f"{where}: " if where else ""
    try:
        model.model_validate(values)
    except ValidationError as error:
        for entry, sentence in zip(
            error.errors(include_url=False), problems(error, tuple(keys)), strict=True
        ):
            place = str(next(iter(entry["loc"]), ""))
            named = entry["type"] != "value_error" or place in sentence
            yield f"{prefix}{'' if named else f'{place}: '}{sentence}"


def _check_datasets(datasets: Any) -> Iterator[str]:
    if not isinstance(datasets, dict) or not datasets:
        yield "datasets is missing; give dict(cls=dict(kind=…, path=…), …)."
        return
    for name, dataset in datasets.items():
        where, smoke = f"dataset {name!r}", _dict(dataset).get("smoke")
        written = {k: v for k, v in dataset.items() if k != "smoke"} if smoke else dataset
        yield from _fit(WrittenDataset, written, where, WrittenDataset.model_fields)
        if smoke is not None:
            yield from _fit(SmokeFolder, smoke, f"{where}, smoke", SmokeFolder.model_fields)


def _check_tasks(tasks: Any, datasets: Any) -> Iterator[str]:
    if not isinstance(tasks, dict) or not tasks:
        example = ", ".join(f"{name}=…" for name in list(TASKS)[1:])
        yield f"tasks is missing; give dict({SOURCE}=dict(config=…, data=…), {example})."
        return
    for name, setup in tasks.items():
        if name not in TASKS:
            yield f"{unknown('task', str(name), TASKS)}."
        yield from _fit(TaskSetup, setup, f"task {name!r}", _TASK_KEYS)
        overrides = _dict(_dict(setup).get("set"))
        wrong = [key for key in overrides if not isinstance(key, str)]
        if wrong:
            yield f"task {name!r}: set has the key {wrong[0]!r}; config keys are strings."
        data = _dict(setup).get("data")
        if isinstance(data, str) and isinstance(datasets, dict) and data not in datasets:
            yield f"task {name!r}: {unknown('dataset', data, sorted(map(str, datasets)))}."


def _check_rows(rows: Any, tasks: Any) -> Iterator[str]:
    if not isinstance(rows, list | tuple) or not rows:
        yield "rows is missing; give a list of dict(name=…, backbone=…, recipe=…)."
        return
    earlier: dict[str, dict[str, Any]] = {}
    for position, row in enumerate(rows, start=1):
        name = row.get("name") if isinstance(row, dict) else None
        where = f"row {name!r}" if isinstance(name, str) else f"row {position}"
        if not isinstance(row, dict):
            yield f"{where} is not a dict, but {row!r}."
            continue
        yield from _check_keys(where, row)
        like, resolved = row.get("like"), resolve_like(row, earlier)
        if like is None or like in earlier:
            yield from _check_pretraining(where, resolved, tasks)
        else:
            yield f"{where}: {unknown('row above it', str(like), sorted(earlier))}."
        if not isinstance(name, str):
            continue
        if not is_safe_name(name):
            yield (
                f"{where}: the name is also a folder's; use letters, digits and . _ + = - only, for example "
                f"{safe_name(name)!r}."
            )
        twin = next((other for other in earlier if other.casefold() == name.casefold()), None)
        if twin is not None:
            yield f"{where}: another row is called {twin!r}; give each its own name."
        earlier[name] = resolved


def _check_keys(where: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Check the names and the types of a row's keys."""
    for key in row:
        if key not in ROW_KEYS:
            yield f"{where}: {unknown('key', str(key), ROW_KEYS)}."
    own, _ = split_row(row)
    written = {key: own.pop(key) for key in _WrittenRow.model_fields if key in own}
    yield from _fit(_WrittenRow, written, where)
    yield from _fit(Row, own, where)
    for key, (task, option) in FLAT_KEYS.items():
        if row.get(key) is None:
            continue
        if _dict(row.get(task)).get(option) is not None:
            yield f"{where}: give either {key} or {task}=dict({option}=…), not both."
        for sentence in _fit(TaskOptions, {option: row[key]}, where):
            named = sentence.replace(f"'{option}'", f"'{key}'", 1)
            named = named.replace(f"{where}: {option}: ", f"{where}: {key}: ", 1)
            yield f"{named}{_EXPLAINED.get(option, '')}"
    for task in TASKS:
        options = row.get(task)
        if options is None:
            continue
        known = task_keys(TASKS[task])
        for key in _dict(options):
            if key not in known:
                yield f"{where}, {task}: {unknown('key', str(key), known)}."
        given = options
        if isinstance(options, dict):
            given = {k: v for k, v in options.items() if k in known and v is not None}
        for sentence in _fit(TaskOptions, given, f"{where}, {task}"):
            about_lr = f"{task}: 'lr' " in sentence or f"{task}: lr: " in sentence
            yield f"{sentence}{_EXPLAINED['lr'] if about_lr else ''}"
    if "like" not in row:
        options = split_row(row)[1].get(SOURCE, {})
        for name in _list(options.get("requires")):
            if name not in _list(options.get("tricks")):
                yield f"{where}: requires names {name!r}, which is not among its tricks."


def _check_pretraining(where: str, row: Mapping[str, Any], tasks: Any) -> Iterator[str]:
    """Check that a row has exactly one of random weights, own pretraining and given weights."""
    options = _dict(row["tasks"].get(SOURCE))
    spelled = {option: key for key, (task, option) in FLAT_KEYS.items() if task == SOURCE}
    trained = [
        spelled[option] for option in ("recipe", "tricks", "teacher", "lr") if options.get(option)
    ]
    weights = ["weights"] if row.get("weights") else []
    if row.get("pretrain", True) is False:
        if trained or weights:
            extra = " and ".join([*trained, *weights])
            yield f"{where}: pretrain=False and {extra} contradict each other."
    elif weights:
        if trained:
            yield f"{where}: give either weights or {' and '.join(trained)}, not both."
    elif options.get("recipe") is None:
        yield f"{where}: give a recipe, weights, or pretrain=False for random weights."
    elif isinstance(tasks, dict) and SOURCE not in tasks:
        yield f"{where}: it is pretrained here, but the suite has no task {SOURCE!r}."


def _check_teachers(teachers: Any, rows: Any, tasks: Any) -> Iterator[str]:
    """Check the teachers like rows, and that the teachers named by rows exist."""
    if not isinstance(teachers, list | tuple):
        yield "teachers is not a list of dict(name=…, backbone=…, recipe=…)."
        return
    if teachers:
        yield from (f"teachers, {problem}" for problem in _check_rows(teachers, tasks))
    for teacher in filter(lambda entry: isinstance(entry, dict), teachers):
        where = f"teacher {teacher.get('name')!r}"
        if teacher.get("pretrain", True) is False or teacher.get("weights"):
            yield f"{where}: a teacher is trained here, with a recipe."
        if split_row(teacher)[1].get(SOURCE, {}).get("teacher"):
            yield f"{where}: a teacher has no teacher of its own."
    names = {str(teacher.get("name")) for teacher in teachers if isinstance(teacher, dict)}
    for row in filter(lambda entry: isinstance(entry, dict), _list(rows)):
        where = f"row {row.get('name')!r}"
        if row.get("name") in names:
            yield f"{where}: a teacher has the same name; give each its own."
        named = split_row(row)[1].get(SOURCE, {}).get("teacher")
        if named is not None and named not in names:
            yield f"{where}: {unknown('teacher', str(named), sorted(names))}."


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
