"""`result.json`, schema version 1: the model that tasks write and the harness reads.

Files in a work dir: `result.json` (written last; a run is finished when it exists), `curves.json`, `evaluation.json`,
`examples/*.png`, and for classification the pretrained checkpoint.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from contract.files import write_json
from contract.models import Model, read_model
from contract.settings import BUDGETS, git_state, package_versions
from contract.tasks import COSTS, ESTIMATES, TASKS, Quantity

SCHEMA_VERSION = 1
COMPLETED = "completed"
RESULT_FILE = "result.json"
CURVES_FILE = "curves.json"
EVALUATION_FILE = "evaluation.json"
# The pretrained checkpoint, which classification writes for all other tasks.
CHECKPOINT_FILE = "backbone.safetensors"
# evaluation.json of detection holds the precision at these recalls.
RECALLS = tuple(round(step / 100, 2) for step in range(101))
RUN_AGAIN = "Delete it and start `python -m benchmarks run` again: only this run is repeated."
_NEWER = "Read it with the version that wrote it, or upgrade (`pip install --upgrade trickbench`)."


class Metric(Model):
    """One named score or cost.

    Attributes:
        name: As in `contract.tasks`: `top1`, `map`, `miou` …
        value: In `unit`.
        unit: `%` for scores.
        higher_is_better: Whether larger values are better.
    """

    name: str
    value: FiniteFloat
    unit: str = "%"
    higher_is_better: bool = True


class DataUse(Model):
    """Which images were used.

    Attributes:
        fingerprint: Hash of the dataset as the harness checked it; None if it gave none.
        classes: Number of classes.
        train_images_total: Different images in the training set; repeated images count once, here and below.
        train_images_used: How many of them training draws from.
        test_images_total: Images in the test set.
        test_images_used: How many of them were tested.
        notes: What was repaired while loading, in sentences.
    """

    fingerprint: str | None = None
    classes: int
    train_images_total: int
    train_images_used: int
    test_images_total: int
    test_images_used: int
    notes: tuple[str, ...] = ()


class LoadReport(Model):
    """Proof that a pretrained checkpoint is in the model.

    Attributes:
        sha256: Digest of the checkpoint file.
        matched: Tensors of the backbone that equal those of the file.
        total: Tensors of the backbone, buffers included.
        feature_error: Largest difference between the features on a fixed image and those stored in the file, relative
            to the largest value of their map; None if the file stores none.
        source: The checkpoint's metadata; `random` names tensors that were missing from imported weights.
    """

    sha256: str
    matched: int
    total: int
    feature_error: float | None = None
    source: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, values: Any) -> Any:
        # The first files contain a null if nothing was known about the checkpoint.
        if isinstance(values, Mapping) and values.get("source", ...) is None:
            return {key: value for key, value in values.items() if key != "source"}
        return values


class Estimate(Model):
    """A transferability estimate, measured before the task trained.

    Attributes:
        name: `logme`, `hscore` or `leep`.
        value: In the unit of `contract.tasks.ESTIMATES`.
        samples: Labelled features that it was computed from.
    """

    name: str
    value: FiniteFloat
    samples: int


class Code(Model):
    """The code that made a result.

    Attributes:
        git_sha: The commit; None outside a git checkout.
        dirty: Whether tracked files were edited since; None outside a git checkout.
    """

    git_sha: str | None
    dirty: bool | None


class Device(Model):
    """What the run was computed on.

    Attributes:
        type: `cpu` or `cuda`.
        name: Of the CPU or GPU.
        count: GPUs, or threads of a CPU.
    """

    type: str
    name: str
    count: int


class PrecisionUse(Model):
    """What autocast computed in.

    Attributes:
        dtype: `float32`, `bfloat16` or `float16`.
        reason: Why it was chosen.
    """

    dtype: str
    reason: str


class BatchUse(Model):
    """The images of a training step.

    Attributes:
        images: All of them.
        processes: Devices that share them.
        device_batch_size: Most images in one forward pass on one device.
        batch_norm_images: Images behind trained batch statistics; None if none are trained.
        published_batch_norm_images: The same in the published protocol.
    """

    images: int
    processes: int
    device_batch_size: int
    batch_norm_images: int | None = None
    published_batch_norm_images: int | None = None


class ModelSize(Model):
    """Numbers of parameters.

    Attributes:
        backbone_parameters: Of the backbone.
        parameters: Of the whole network.
    """

    backbone_parameters: int
    parameters: int | None = None


class Result(Model):
    """The content of one `result.json`.

    Attributes:
        schema_version: Version of this schema.
        status: A run that did not finish has no result.
        task: `cls`, `probe`, `det` or `seg`; under the key `stage` in the file.
        identity: Hash of everything that decides the numbers; None for a task that was started by hand.
        config: The config's name on the command line.
        backbone: Spec of the network.
        recipe: Name of the recipe; None for tasks without recipes.
        tricks: The task's own tricks, without those of its recipe.
        budget: `full`, `short` or `smoke`.
        seed: The run's seed.
        lr_factor: Factor on the learning rate of the config.
        metrics: Scores.
        costs: Multiply-adds, latency, throughput; those that are measured differ between runs.
        inference: How costs were measured.
        protocol: How the scores were measured, in words by key.
        data: Which images were used.
        batch: The images of a training step; None if nothing is trained in steps, and in older files.
        model: Numbers of parameters.
        load_report: Under the key `checkpoint` in the file; None if the backbone started from random weights.
        transferability: Estimates before training.
        code: Commit of this code.
        packages: Versions of the packages that can change a number.
        python: Version of Python.
        device: What the run was computed on.
        precision: What autocast computed in.
        wall_seconds: Time from the start to the result, of all parts of a resumed run.
        train_images_per_second: Median over the iterations; None if nothing is trained in steps.
        train_images_per_cpu_second: The same per second of this process's CPU time.
        peak_memory_mib: Most memory that the process or the GPU's allocator held.
        artifacts: File names in the work dir, by kind.
        path: The file that the result was read from; not part of it.
    """

    schema_version: Literal[1]
    status: Literal["completed"]
    task: str = Field(alias="stage")
    identity: str | None
    config: str
    backbone: str
    recipe: str | None
    tricks: tuple[str, ...]
    budget: str
    seed: int
    lr_factor: float = 1.0
    metrics: tuple[Metric, ...]
    costs: tuple[Metric, ...] = ()
    inference: Mapping[str, Any] = Field(default_factory=dict)
    protocol: Mapping[str, Any]
    data: DataUse
    batch: BatchUse | None = None
    model: ModelSize
    load_report: LoadReport | None = Field(alias="checkpoint")
    transferability: tuple[Estimate, ...] = ()
    code: Code
    packages: Mapping[str, str]
    python: str
    device: Device
    precision: PrecisionUse
    wall_seconds: float
    train_images_per_second: float | None
    train_images_per_cpu_second: float | None = None
    peak_memory_mib: float | None
    artifacts: Mapping[str, Any]
    path: Path | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _of_a_known_task(self) -> Result:
        if self.task not in TASKS:
            raise ValueError(f"'stage' is '{self.task}', expected one of {list(TASKS)}")
        if self.budget not in BUDGETS:
            raise ValueError(f"'budget' is '{self.budget}', expected one of {list(BUDGETS)}")
        names = [metric.name for metric in self.metrics]
        required = [metric.name for metric in TASKS[self.task].metrics if metric.required]
        missing = [name for name in required if name not in names]
        if missing:
            raise ValueError(f"it has metrics {names}; task '{self.task}' also needs {missing}")
        known = [estimate.name for estimate in ESTIMATES]
        for estimate in self.transferability:
            if estimate.name not in known:
                raise ValueError(f"transferability '{estimate.name}' is not one of {known}")
        return self

    def columns(self) -> dict[str, Metric]:
        """Return all scores, costs and estimates by the name of their table column."""
        task = TASKS[self.task]
        found = {metric.name: metric for metric in self.metrics}
        for cost in (*self.costs, *self._costs_with_keys()):
            name = task.cost_column(cost.name)
            found[name] = cost.model_copy(update={"name": name})
        units = {estimate.name: estimate.unit for estimate in ESTIMATES}
        for estimate in self.transferability:
            name = f"{self.task}_{estimate.name}"
            found[name] = Metric(name=name, value=estimate.value, unit=units[estimate.name])
        return found

    def _costs_with_keys(self) -> list[Metric]:
        """Return the costs that have separate keys in the file."""
        counts = self.model
        values = {
            "parameters": None if counts.parameters is None else 1e-6 * counts.parameters,
            "backbone_parameters": 1e-6 * counts.backbone_parameters,
            "train_images_per_second": self.train_images_per_second,
            "train_images_per_cpu_second": self.train_images_per_cpu_second,
            "peak_memory": self.peak_memory_mib,
        }
        quantities = {cost.name: cost for cost in COSTS}
        return [
            _metric(quantities[name], value) for name, value in values.items() if value is not None
        ]


def _metric(quantity: Quantity, value: float) -> Metric:
    return Metric(
        name=quantity.name,
        value=float(value),
        unit=quantity.unit,
        higher_is_better=bool(quantity.higher_is_better),
    )


def write_result(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a finished run's `result.json`.

    Args:
        path: The file.
        fields: The fields of `Result` that the task knows; version, status, code, packages and Python are added here.

    Raises:
        pydantic.ValidationError: The fields are not those of the schema, which is a defect of the task.
        OSError: The disk is full or the folder cannot be written.
    """
    sha, dirty = git_state()
    result = Result.model_validate(
        {
            **fields,
            "schema_version": SCHEMA_VERSION,
            "status": COMPLETED,
            "code": {"git_sha": sha, "dirty": dirty},
            "packages": dict(package_versions()),
            "python": platform.python_version(),
        },
        strict=False,
    )
    write_json(path, result.model_dump(mode="json", by_alias=True))


def read_result(path: Path) -> Result:
    """Read one `result.json`.

    Raises:
        UserError: The file is missing, not JSON, of an unknown schema version, not from a finished run, or has no
            value for a required key or metric.
    """
    return read_model(path, Result, RUN_AGAIN, newer=_NEWER).model_copy(update={"path": path})
