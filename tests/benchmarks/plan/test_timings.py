"""Costs of earlier runs belong to their hardware, data and settings."""

from __future__ import annotations

import dataclasses

import pytest
from support.world import World

from benchmarks.plan.costs import Cost
from benchmarks.plan.plan import PlannedRun
from benchmarks.plan.preflight import DataState
from benchmarks.plan.store import RunKey
from benchmarks.plan.timings import Timings
from benchmarks.suite.model import replace


@pytest.fixture
def run(tmp_path) -> PlannedRun:
    return World(tmp_path).plan().find(RunKey("standard", "cls", 0))


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", Cost(40.0, host_bytes=512 * 2**20)),
        ("cuda", Cost(40.0, device_bytes=512 * 2**20)),
    ],
)
def test_returns_the_cost_of_the_last_run(run, tmp_path, device, expected):
    timings = Timings(tmp_path / "timings.json", "here")
    assert timings.estimate([run], "full") == [None]
    result = {"wall_seconds": 30.0, "peak_memory_mib": 512.0, "device": {"type": device}}
    timings.record(run, "full", result, 40.0)
    assert Timings(tmp_path / "timings.json", "here").estimate([run], "full") == [expected]
    assert Timings(tmp_path / "timings.json", "there").estimate([run], "full") == [None]
    assert timings.estimate([run], "short") == [None]


def test_distinguishes_settings_that_change_the_time(run, tmp_path):
    timings = Timings(tmp_path / "timings.json", "here")
    timings.record(run, "full", {"wall_seconds": 30.0, "peak_memory_mib": 1.0}, 40.0)
    seed = dataclasses.replace(run, key=RunKey("standard", "cls", 5))
    assert timings.estimate([seed], "full") != [None]
    longer = replace(run.setup, overrides={"epochs": 50})
    workers = replace(run.setup, overrides={"workers": 4})
    others = [
        dataclasses.replace(run, setup=longer),
        dataclasses.replace(run, data=DataState(run.data.root, "other data")),
        dataclasses.replace(run, row=replace(run.row, backbone="resnet18_b")),
        dataclasses.replace(run, row=replace(run.row, precision="bf16")),
    ]
    assert timings.estimate(others, "full") == [None] * 4
    assert timings.estimate([dataclasses.replace(run, setup=workers)], "full") != [None]
