"""Expected costs: which source counts, what a key covers, and what others ask for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.measured import FACTS, TRIAL, keep
from support.world import ROWS, World, forget_digests, make_row, make_suite

from benchmarks.plan import estimate
from benchmarks.plan.compute import Gpu
from benchmarks.plan.estimate import (
    EARLIER_RUN,
    MEASURED,
    MEASURED_BEFORE,
    STATED,
    UNKNOWN,
    estimates,
    expected_memory_bytes,
    expected_seconds,
    measurements_of,
    timings_of,
)
from benchmarks.plan.plan import CACHED
from benchmarks.plan.preflight import DataState
from benchmarks.plan.store import RunKey
from benchmarks.suite.model import Dataset, replace

CLS = RunKey("standard", "cls", 0)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def source_of(plan, key=CLS):
    return estimates(plan)[key].source


def test_earlier_run_counts_before_measurement(world):
    plan = world.plan()
    run = plan.find(CLS)
    assert (source_of(plan), expected_seconds(plan)[CLS]) == (UNKNOWN, 0.0)
    keep(plan, run)
    # 12 steps of 8 images in each of two epochs, and two tests of 50 images.
    measured = 7 + 2 * 12 * 8 * 0.5 + 2 * 50 * 0.1 + 2
    assert source_of(plan) == MEASURED
    assert expected_seconds(plan)[CLS] == pytest.approx(measured)
    result = {"wall_seconds": 50.0, "peak_memory_mib": 1.0}
    timings_of(plan).record(run, "full", result, 55.0)
    assert source_of(plan) == EARLIER_RUN
    cost = estimates(plan)[CLS].cost
    assert cost is not None
    # Disk and memory are still those of the measurement.
    assert (cost.seconds, cost.disk_bytes) == (55.0, (2 * 3 + 1) * 100 + 5 * 2**20)


def test_equal_steps_share_a_measurement(world):
    plan = world.plan()
    keep(plan, plan.find(CLS))
    measured = measurements_of(plan)
    other = dataclasses.replace(plan.find(CLS), key=RunKey("standard", "cls", 3))
    assert measured.trial(other) is not None
    # Another schedule of the same network: its facts are unknown, then the steps are those already measured.
    longer = dataclasses.replace(other, setup=replace(other.setup, overrides={"epochs": 20}))
    assert measured.facts(longer) is None
    measured.keep_facts(longer, {**FACTS, "epochs": 20})
    assert measured.trial(longer) is not None
    measured.keep_facts(longer, {**FACTS, "signature": "another network"})
    assert measured.trial(longer) is None


def test_other_hardware_and_threads_are_unknown(world):
    plan = world.plan()
    keep(plan, plan.find(CLS))
    assert measurements_of(plan, 64).trial(plan.find(CLS)) is None
    gpus = (Gpu("0", "A100"),)
    plan.compute = dataclasses.replace(plan.compute, gpus=gpus)
    assert measurements_of(plan).trial(plan.find(CLS)) is None


def test_measurement_of_earlier_code_is_a_guess(world):
    plan = world.plan()
    keep(plan, plan.find(CLS))
    before = expected_seconds(plan)[CLS]
    world.edit("cls_train/data.py", "CROP = 2\n")
    forget_digests()
    plan = world.plan()
    assert source_of(plan) == MEASURED_BEFORE
    assert expected_seconds(plan)[CLS] == before


def test_unknown_runs_get_the_median_of_their_task(world):
    plan = world.plan()
    keep(plan, plan.find(CLS))
    seconds = expected_seconds(plan)
    assert seconds[RunKey("tricks", "cls", 0)] == seconds[CLS] > 0
    assert seconds[RunKey("tricks", "det", 0)] == 0
    assert expected_memory_bytes(plan)[CLS] == 1000 + 4 * 10 + 100
    assert expected_memory_bytes(plan)[RunKey("tricks", "det", 0)] == 0
    plan.find(CLS).state = CACHED
    assert CLS not in expected_seconds(plan)


def test_teacher_of_a_distilled_row_must_be_measured(tmp_path):
    teacher = make_row("large", "resnet50_d", recipe="standard")
    student = make_row("small", "resnet10_d", recipe="standard", teacher="large")
    world = World(tmp_path, suite=replace(make_suite((student,)), teachers=(teacher,)))
    plan = world.plan()
    key = RunKey("small", "cls", 0)
    keep(plan, plan.find(key))
    assert source_of(plan, key) == UNKNOWN
    keep(plan, plan.find(RunKey("large", "cls", 0)), {"device_seconds_per_image": 0.3})
    assert source_of(plan, key) == MEASURED
    # 192 images, with a third of the teacher's 0.3 s each.
    assert expected_seconds(plan)[key] == pytest.approx(7 + 96 + 192 * 0.1 + 2 + 10)


@pytest.mark.parametrize(("folder", "known"), [("imagenet", True), ("my-photos", False)])
def test_missing_data_count_as_published(tmp_path, folder, known):
    world = World(tmp_path)
    datasets = {
        name: Dataset(kind=dataset.kind, path=Path("/data", folder))
        for name, dataset in world.suite.datasets.items()
    }
    world.suite = replace(world.suite, datasets=datasets)
    world.data["cls"] = DataState(Path("/data/cls"), None, "the folder does not exist")
    plan = world.plan()
    keep(plan, plan.find(CLS))
    cost = estimates(plan)[CLS].cost
    if not known:
        assert cost is None
        return
    assert cost is not None
    steps = 2 * (1_281_167 // 8)
    assert cost.seconds == pytest.approx(7 + steps * 8 * 0.5 + 2 * 50_000 * 0.1 + 2)


def test_stated_gpu_hours_count_on_a_gpu_alone(world):
    row = replace(ROWS[1], gpu_hours=10.0)
    world.suite = make_suite((row,))
    plan = world.plan()
    assert source_of(plan) == UNKNOWN
    plan.compute = dataclasses.replace(plan.compute, device="cuda")
    assert source_of(plan) == STATED
    assert expected_seconds(plan)[CLS] == 36_000
    assert estimate.runs_left(plan)[0].key == CLS
    keep(plan, plan.find(CLS), TRIAL)
    assert source_of(plan) == MEASURED
