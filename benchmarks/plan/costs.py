"""The cost of a run, computed from its schedule and from a measurement of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Log files, curves, the result and example pictures.
_RESULT_BYTES = 5 * 2**20
# mmengine keeps the older checkpoint until the newer one is complete.
_CHECKPOINTS = 2
# A forward pass without gradients costs about a third of a training step.
_FORWARD = 1 / 3


@dataclass(frozen=True)
class Cost:
    """Time, memory and disk space of a run; None where it is unknown.

    Attributes:
        seconds: Wall-clock time.
        device_bytes: Memory of the GPU; None on a CPU.
        host_bytes: Memory of the machine.
        disk_bytes: Checkpoints, exported weights and results.
    """

    seconds: float
    device_bytes: int | None = None
    host_bytes: int | None = None
    disk_bytes: int | None = None


def steps_of(facts: Mapping[str, Any], train_samples: int) -> int:
    """Return the training steps of a schedule.

    Args:
        facts: See `engine.measure.schedule`.
        train_samples: Samples of an epoch.
    """
    if facts["iterations"] is not None:
        return facts["iterations"]
    images = facts["images"]
    each = train_samples // images if facts["drop_last"] else -(-train_samples // images)
    return facts["epochs"] * max(1, each)


def cost_of(
    facts: Mapping[str, Any],
    trial: Mapping[str, Any],
    *,
    cores: int,
    sizes: tuple[int, int] | None = None,
    teacher: Mapping[str, Any] | None = None,
) -> Cost:
    """Return what a run costs.

    Args:
        facts: The run's schedule; see `engine.measure.schedule`.
        trial: The measurement of its steps; see `engine.measure.trial`.
        cores: CPU cores that the run's loader may use.
        sizes: Training and test images of the real data if others were measured; None if these were measured.
        teacher: The measurement of its teacher's steps; None without distillation.
    """
    samples, tests = facts["train_samples"], facts["test_images"]
    if sizes is not None:
        samples = round(sizes[0] * samples / facts["train_images"])
        limited = tests < facts["test_images_total"]
        tests = min(tests, sizes[1]) if limited else sizes[1]
    images = steps_of(facts, samples) * facts["images"]
    training = images * _seconds_per_image(facts, trial, teacher, cores)
    tested = (facts["validations"] + facts["further_tests"]) * tests
    seconds = (
        trial["start_seconds"]
        + training
        + tested * trial["test_seconds_per_image"]
        + trial["end_seconds"]
    )
    batch = facts["pass_images"] or trial["images"]
    host = trial["host_bytes"] + trial["image_bytes"] * batch + trial["worker_bytes"]
    disk = _CHECKPOINTS * trial["checkpoint_bytes"] + trial["exported_bytes"] + _RESULT_BYTES
    return Cost(seconds, trial["device_bytes"], host, disk)


def _seconds_per_image(
    facts: Mapping[str, Any],
    trial: Mapping[str, Any],
    teacher: Mapping[str, Any] | None,
    cores: int,
) -> float:
    """Return the seconds of training with an image; beside a GPU, the slower of network and loader decides."""
    extra = 0.0 if teacher is None else _FORWARD * teacher["device_seconds_per_image"]
    if trial["device_bytes"] is None:
        return trial["seconds_per_image"] + extra
    loaders = min(facts["workers"], cores)
    if loaders == 0:
        return trial["seconds_per_image"] + extra
    loading = trial["load_seconds_per_image"] / loaders
    return max(trial["device_seconds_per_image"] + extra, loading)
