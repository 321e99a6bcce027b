"""The fields of a result that are computed from the history of the training."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer

from engine.record import curves, speeds


def _history(**values):
    return {f"train/{name}": HistoryBuffer(each, [1] * len(each)) for name, each in values.items()}


def test_speed_of_device_leaves_out_loading_and_first_iterations():
    # Two of eight iterations search for kernels; then every step takes 0.2 s, of which 0.15 s are waiting.
    scalars = _history(
        time=[9.0, 9.0, *[0.2] * 3, *[0.4] * 3],
        data_time=[0.1, 0.1, *[0.15] * 3, *[0.35] * 3],
        cpu_time=[0.05] * 8,
    )
    found = speeds(scalars, images=10)
    assert found["train_images_per_second_without_loading"] == pytest.approx(10 / 0.05)
    assert found["train_images_per_second"] == pytest.approx(10 / 0.3, abs=0.01)
    assert found["train_images_per_cpu_second"] == pytest.approx(10 / 0.05)


def test_speed_is_of_all_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    scalars = _history(time=[0.5], data_time=[0.25], cpu_time=[0.125])
    assert speeds(scalars, images=10) == {
        "train_images_per_second": 80.0,
        "train_images_per_second_without_loading": 160.0,
        "train_images_per_cpu_second": 80.0,
    }


def _curve(values, counts):
    scalars = {
        "train/loss": HistoryBuffer(values, counts),
        "train/lr": HistoryBuffer([0.1 * count for count in counts], counts),
    }
    total = sum(counts)
    runner = SimpleNamespace(
        message_hub=SimpleNamespace(log_scalars=scalars),
        max_iters=total,
        max_epochs=2,
        cfg=SimpleNamespace(train_cfg={}),
    )
    return curves(None, runner, [])["train"]


def test_curve_of_single_values_has_their_means():
    curve = _curve([float(step) for step in range(450)], [1] * 450)
    # Three steps a point.
    assert [point["step"] for point in curve] == list(range(3, 451, 3))
    assert [point["loss"] for point in curve] == [float(step - 2) for step in range(3, 451, 3)]
    assert curve[-1]["lr"] == pytest.approx(0.1) and curve[-1]["epoch"] == 2.0


def test_curve_of_grouped_values_has_the_mean_of_each_iteration():
    # Steps 0..399 in groups of four, then 50 single ones.
    grouped = [float(sum(range(start, start + 4))) for start in range(0, 400, 4)]
    curve = _curve([*grouped, *map(float, range(400, 450))], [4] * 100 + [1] * 50)
    assert curve[0]["step"] == 4 and curve[0]["loss"] == 1.5
    assert curve[-1]["step"] == 450 and curve[-1]["loss"] == 448.0
    assert curve[0]["lr"] == pytest.approx(0.1)
    sizes = np.diff([0, *(point["step"] for point in curve)])
    assert sum(size * point["loss"] for size, point in zip(sizes, curve, strict=True)) == sum(
        range(450)
    )


def test_speed_of_grouped_times():
    scalars = {
        f"train/{name}": HistoryBuffer([value * 4] * 20, [4] * 20)
        for name, value in {"time": 0.5, "data_time": 0.25, "cpu_time": 0.125}.items()
    }
    assert speeds(scalars, images=10)["train_images_per_second"] == 20.0
