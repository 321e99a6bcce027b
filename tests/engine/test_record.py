"""The fields of a result that are computed from the history of the training."""

import pytest
from mmengine.logging import HistoryBuffer

from engine.record import speeds


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
