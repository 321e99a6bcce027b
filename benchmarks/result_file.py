"""Read one `result.json`, strictly.

The file is described in `docs/architecture.md`. One of an unknown version, or one that lacks a key,
raises with the file's name and the fix: a table of half-understood files looks like a good one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.suite_schema import SCORES, STAGES, cost_column
from contract.errors import UserError
from contract.settings import BUDGETS

SCHEMA_VERSION = 1
REQUIRED_METRICS = {
    "cls": ("top1",),
    "probe": ("linear_top1", "knn_top1"),
    "det": ("map",),
    "seg": ("pixacc", "miou"),
}
RUN_AGAIN = "Delete it and start `python -m benchmarks run` again: only this cell is made anew."


@dataclass(frozen=True)
class Metric:
    """One number of a result."""

    name: str
    value: float
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class DataUse:
    """Which data a stage used, and how many of its images."""

    fingerprint: str | None
    classes: int
    train_images_total: int
    train_images_used: int
    test_images_total: int
    test_images_used: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Receipt:
    """Proof of a transfer: the file's sha256, how many tensors equal it, and how far the features are from its own.

    `feature_error` is None where the file tells no features, or the result is older than their comparison.
    """

    sha256: str
    matched: int
    total: int
    source: Mapping[str, Any]
    feature_error: float | None = None


@dataclass(frozen=True)
class Score:
    """What a backbone's features promised before a det or seg training, by one measure."""

    name: str
    value: float
    samples: int


@dataclass(frozen=True)
class Result:
    """The content of one `result.json`; see `docs/architecture.md` for the meaning of each key."""

    path: Path
    stage: str
    identity: str | None
    config: str
    backbone: str
    recipe: str | None
    tricks: tuple[str, ...]
    lr_factor: float
    budget: str
    seed: int
    metrics: tuple[Metric, ...]
    costs: tuple[Metric, ...]
    inference: Mapping[str, Any]
    protocol: Mapping[str, Any]
    data: DataUse
    backbone_parameters: int
    checkpoint: Receipt | None
    transferability: tuple[Score, ...]
    git_sha: str | None
    dirty: bool | None
    packages: Mapping[str, str]
    python: str
    device_type: str
    device_name: str
    device_count: int
    dtype: str
    dtype_reason: str
    wall_seconds: float
    train_images_per_second: float | None
    train_images_per_cpu_second: float | None
    peak_memory_mib: float | None
    artifacts: Mapping[str, Any]

    @property
    def scores(self) -> tuple[Metric, ...]:
        """The scores of transferability under the names that columns have, as in `det_logme`."""
        return tuple(
            Metric(f"{self.stage}_{score.name}", score.value, SCORES[score.name], True)
            for score in self.transferability
        )

    def metric(self, name: str) -> Metric | None:
        """Return the metric, cost or score of that name, or None."""
        found = (m for m in (*self.metrics, *self.costs, *self.scores) if m.name == name)
        return next(found, None)


class Document:
    """A parsed JSON object that names its file when a key is missing or of the wrong type."""

    def __init__(self, path: Path, content: Mapping[str, Any], fix: str, prefix: str = "") -> None:
        self.path, self.content, self.fix, self.prefix = path, content, fix, prefix

    def get(self, key: str, *kinds: type) -> Any:
        """Return the value at `key`, which must be of one of `kinds`; int passes as float."""
        if key not in self.content:
            raise UserError(f"{self.path} has no key '{self.prefix}{key}'. {self.fix}")
        value = self.content[key]
        if float in kinds and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        misfit = isinstance(value, bool) and bool not in kinds
        if misfit or not isinstance(value, kinds):
            expected = " or ".join(
                "null" if kind is type(None) else kind.__name__ for kind in kinds
            )
            raise UserError(
                f"{self.path}: '{self.prefix}{key}' is {value!r}, expected {expected}. {self.fix}"
            )
        return value

    def get_or(self, default: Any, key: str, *kinds: type) -> Any:
        """Return the value at `key` as `get` does, or the default where a file from before it was written has none."""
        return self.get(key, *kinds) if key in self.content else default

    def child(self, key: str) -> Document:
        """Return the object at `key`."""
        return self.wrap(self.get(key, dict), key)

    def children(self, key: str) -> list[Document]:
        """Return the list of objects at `key`."""
        found = []
        for index, value in enumerate(self.get(key, list)):
            if not isinstance(value, dict):
                raise UserError(
                    f"{self.path}: '{self.prefix}{key}[{index}]' is {value!r}, expected an object. "
                    f"{self.fix}"
                )
            found.append(self.wrap(value, f"{key}[{index}]"))
        return found

    def wrap(self, content: Mapping[str, Any], key: str) -> Document:
        """Return `content` as a document whose messages carry the full key."""
        return Document(self.path, content, self.fix, f"{self.prefix}{key}.")


def open_document(path: Path, fix: str) -> Document:
    """Parse a JSON object, or raise with the file's name and the fix."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. {fix}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}). {fix}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected an object. {fix}")
    return Document(path, content, fix)


def read_result(path: Path) -> Result:
    """Read one `result.json`.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        UserError: The file is missing, not JSON, of an unknown schema version, not that of a
            completed stage, or lacks a key or a metric of its stage; the message names the file and
            the fix.
    """
    document = open_document(path, RUN_AGAIN)
    _check_kind(document)
    stage = document.get("stage", str)
    code, device, precision = (document.child(key) for key in ("code", "device", "precision"))
    return Result(
        path=path,
        stage=stage,
        identity=document.get("identity", str, type(None)),
        config=document.get("config", str),
        backbone=document.get("backbone", str),
        recipe=document.get("recipe", str, type(None)),
        tricks=tuple(document.get("tricks", list)),
        lr_factor=document.get_or(1.0, "lr_factor", float),
        budget=document.get("budget", str),
        seed=document.get("seed", int),
        metrics=_read_metrics(document, stage),
        costs=_read_costs(document, stage),
        inference=document.get_or({}, "inference", dict),
        protocol=document.get("protocol", dict),
        data=_read_data(document.child("data")),
        backbone_parameters=document.child("model").get("backbone_parameters", int),
        checkpoint=_read_receipt(document),
        # Absent from what was written before it was measured.
        transferability=(_read_scores(document) if "transferability" in document.content else ()),
        git_sha=code.get("git_sha", str, type(None)),
        dirty=code.get("dirty", bool, type(None)),
        packages=document.get("packages", dict),
        python=document.get("python", str),
        device_type=device.get("type", str),
        device_name=device.get("name", str),
        device_count=device.get("count", int),
        dtype=precision.get("dtype", str),
        dtype_reason=precision.get("reason", str),
        wall_seconds=document.get("wall_seconds", float),
        train_images_per_second=document.get("train_images_per_second", float, type(None)),
        train_images_per_cpu_second=document.get_or(
            None, "train_images_per_cpu_second", float, type(None)
        ),
        peak_memory_mib=document.get("peak_memory_mib", float, type(None)),
        artifacts=document.get("artifacts", dict),
    )


def _check_kind(document: Document) -> None:
    """Refuse what is not a completed result of a known version, stage and budget."""
    path = document.path
    version = document.get("schema_version", int)
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {version}; this version reads {SCHEMA_VERSION}. "
            "Read it with the version that wrote it, or upgrade (`pip install --upgrade "
            f"trickbench`). {RUN_AGAIN}"
        )
    status, stage = document.get("status", str), document.get("stage", str)
    budget = document.get("budget", str)
    if status != "completed":
        raise UserError(f"{path}: 'status' is '{status}', expected 'completed'. {RUN_AGAIN}")
    if stage not in STAGES:
        raise UserError(
            f"{path}: 'stage' is '{stage}', expected one of {list(STAGES)}. {RUN_AGAIN}"
        )
    if budget not in BUDGETS:
        raise UserError(
            f"{path}: 'budget' is '{budget}', expected one of {list(BUDGETS)}. {RUN_AGAIN}"
        )


def _read_metrics(document: Document, stage: str) -> tuple[Metric, ...]:
    """Read the metrics; those of the table's columns are there."""
    metrics = _read_figures(document, "metrics")
    names = [metric.name for metric in metrics]
    lacking = [name for name in REQUIRED_METRICS[stage] if name not in names]
    if lacking:
        raise UserError(
            f"{document.path} has metrics {names}; stage '{stage}' also needs {lacking}. "
            f"{RUN_AGAIN}"
        )
    return metrics


def _read_figures(document: Document, key: str) -> tuple[Metric, ...]:
    """Read a list of named numbers, each finite."""
    figures = tuple(
        Metric(
            name=entry.get("name", str),
            value=entry.get("value", float),
            unit=entry.get("unit", str),
            higher_is_better=entry.get("higher_is_better", bool),
        )
        for entry in document.children(key)
    )
    for metric in figures:
        if not math.isfinite(metric.value):
            raise UserError(
                f"{document.path}: metric '{metric.name}' is {metric.value}, expected a finite "
                f"number. {RUN_AGAIN}"
            )
    return figures


def _read_costs(document: Document, stage: str) -> tuple[Metric, ...]:
    """Read the costs, those that have keys of their own included, under the names of the table's columns."""
    # Absent from what was written before costs were counted.
    found = list(_read_figures(document, "costs")) if "costs" in document.content else []
    model = document.child("model")
    for document_of, key, name, unit, scale in (
        (model, "parameters", "parameters", "M", 1e-6),
        (model, "backbone_parameters", "backbone_parameters", "M", 1e-6),
        (document, "train_images_per_second", "train_images_per_second", "images/s", 1),
        (document, "train_images_per_cpu_second", "train_images_per_cpu_second", "images/CPU s", 1),
        (document, "peak_memory_mib", "peak_memory", "MiB", 1),
    ):
        value = document_of.get_or(None, key, float, type(None))
        if value is not None:
            found.append(
                Metric(name, scale * value, unit, higher_is_better=key.startswith("train"))
            )
    return tuple(replace(figure, name=cost_column(stage, figure.name)) for figure in found)


def _read_scores(document: Document) -> tuple[Score, ...]:
    """Read the scores of transferability, each finite and of a known name."""
    scores = tuple(
        Score(entry.get("name", str), entry.get("value", float), entry.get("samples", int))
        for entry in document.children("transferability")
    )
    for score in scores:
        if score.name not in SCORES or not math.isfinite(score.value):
            raise UserError(
                f"{document.path}: transferability '{score.name}' is {score.value}, expected a finite number by one "
                f"of {list(SCORES)}. {RUN_AGAIN}"
            )
    return scores


def _read_data(data: Document) -> DataUse:
    """Read the counts of images."""
    return DataUse(
        fingerprint=data.get_or(None, "fingerprint", str, type(None)),
        classes=data.get("classes", int),
        train_images_total=data.get("train_images_total", int),
        train_images_used=data.get("train_images_used", int),
        test_images_total=data.get("test_images_total", int),
        test_images_used=data.get("test_images_used", int),
        notes=tuple(str(note) for note in data.get("notes", list)),
    )


def _read_receipt(document: Document) -> Receipt | None:
    """Read the receipt of a transfer; None where the stage started from random weights."""
    if document.get("checkpoint", dict, type(None)) is None:
        return None
    receipt = document.child("checkpoint")
    return Receipt(
        sha256=receipt.get("sha256", str),
        matched=receipt.get("matched", int),
        total=receipt.get("total", int),
        source=receipt.get("source", dict, type(None)) or {},
        feature_error=receipt.get_or(None, "feature_error", int, float, type(None)),
    )
