"""Measured steps of a run, with numbers that are easy to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.plan.estimate import measurements_of
from benchmarks.plan.plan import Plan, PlannedRun

FACTS: dict[str, Any] = {
    "epochs": 2,
    "iterations": None,
    "validations": 2,
    "images": 8,
    "pass_images": 4,
    "drop_last": True,
    "workers": 4,
    "train_samples": 100,
    "train_images": 100,
    "test_images": 50,
    "test_images_total": 50,
    "further_tests": 0.0,
    "signature": "a network",
}
TRIAL: dict[str, Any] = {
    "start_seconds": 7.0,
    "seconds_per_image": 0.5,
    "device_seconds_per_image": 0.3,
    "load_seconds_per_image": 0.4,
    "test_seconds_per_image": 0.1,
    "end_seconds": 2.0,
    "images": 2,
    "device_bytes": None,
    "host_bytes": 1000,
    "image_bytes": 10,
    "worker_bytes": 100,
    "checkpoint_bytes": 300,
    "exported_bytes": 100,
}


def keep(plan: Plan, run: PlannedRun, trial: Mapping[str, Any] | None = None) -> None:
    """Store a schedule of 12 steps of 8 images an epoch, and the figures of its steps."""
    measured = measurements_of(plan)
    measured.keep_facts(run, FACTS)
    measured.keep_trial(run, {**TRIAL, **(trial or {})})
