"""The arithmetic from measured steps to the cost of a run."""

import pytest

from benchmarks.plan.costs import cost_of, steps_of

FACTS = {
    "epochs": 10,
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
}
MIB = 2**20
TRIAL = {
    "start_seconds": 7.0,
    "seconds_per_image": 0.5,
    "device_seconds_per_image": 0.3,
    "load_seconds_per_image": 0.4,
    "test_seconds_per_image": 0.1,
    "end_seconds": 2.0,
    "images": 2,
    "device_bytes": None,
    "host_bytes": 1000 * MIB,
    "image_bytes": 10 * MIB,
    "worker_bytes": 100 * MIB,
    "checkpoint_bytes": 200 * MIB,
    "exported_bytes": 90 * MIB,
}


def seconds(facts=None, trial=None, **options):
    return cost_of(
        {**FACTS, **(facts or {})}, {**TRIAL, **(trial or {})}, cores=8, **options
    ).seconds


@pytest.mark.parametrize(
    ("facts", "samples", "expected"),
    [
        ({}, 100, 120),  # 12 whole batches of 8
        ({"drop_last": False}, 100, 130),
        ({}, 3, 10),  # mmengine refuses no batch, but a guess is still one
        ({"epochs": None, "iterations": 77}, 100, 77),
    ],
)
def test_steps(facts, samples, expected):
    assert steps_of({**FACTS, **facts}, samples) == expected


def test_time_on_a_cpu():
    training = 10 * 12 * 8 * 0.5
    assert seconds() == pytest.approx(7 + training + 2 * 50 * 0.1 + 2)
    # A test at two scales, each mirrored, has 2 · (0.25 + 1) times the pixels.
    assert seconds({"further_tests": 2.5}) - seconds() == pytest.approx(2.5 * 50 * 0.1)


def test_loader_or_network_decides_beside_a_gpu():
    gpu = {"device_bytes": 1}
    fixed, images = 7 + 10 + 2, 10 * 12 * 8
    assert seconds(trial=gpu) == pytest.approx(fixed + images * 0.3)
    slow = {**gpu, "load_seconds_per_image": 4.0}
    assert seconds(trial=slow) == pytest.approx(fixed + images * 1.0)
    # Without loader processes nothing overlaps.
    assert seconds({"workers": 0}, gpu) == pytest.approx(fixed + images * 0.5)


def test_teacher_adds_a_forward_pass():
    teacher = {"device_seconds_per_image": 0.9}
    assert seconds(teacher=teacher) - seconds() == pytest.approx(10 * 12 * 8 * 0.3)


def test_published_sizes_replace_those_of_generated_images():
    # A sample is drawn three times an epoch, as by RepeatDataset.
    facts = {"train_samples": 12, "train_images": 4, "test_images": 4, "test_images_total": 4}
    whole = seconds(facts, sizes=(1000, 300))
    assert whole == pytest.approx(7 + 10 * 375 * 8 * 0.5 + 2 * 300 * 0.1 + 2)
    limited = seconds({**facts, "test_images": 1}, sizes=(1000, 300))
    assert whole - limited == pytest.approx(2 * 299 * 0.1)


def test_memory_and_disk():
    cost = cost_of(FACTS, TRIAL, cores=8)
    assert cost.device_bytes is None
    assert cost.host_bytes == (1000 + 4 * 10 + 100) * MIB
    assert cost.disk_bytes == (2 * 200 + 90 + 5) * MIB
    unknown_pass = cost_of({**FACTS, "pass_images": None}, TRIAL, cores=8)
    assert unknown_pass.host_bytes == (1000 + 2 * 10 + 100) * MIB
