"""The script that compares the speeds of two precisions."""

import json
import sys

import pytest

from benchmarks.scripts import speed


def test_ratio_is_that_of_device(monkeypatch, tmp_path, capsys):
    asked = []
    # Loading takes a tenth of a second in either precision; the step 0.04 s in float32 and 0.01 s in the other one.
    steps = {"fp32": 0.04, "auto": 0.01}

    def train(setting, task, precision, limits, data):
        asked.append(limits)
        step = steps[precision]
        return {
            "train_images_per_second": 1 / (0.1 + step),
            "train_images_per_second_without_loading": 1 / step,
            "precision": {"dtype": precision},
            "device": {},
            "packages": {},
        }

    monkeypatch.setattr(speed, "_train", train)
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setattr(speed.miniworld, "prepare", lambda preset, root: root)
    monkeypatch.setattr(sys, "argv", ["speed", "--tasks", "cls", "--workers", "3", "--rounds", "2"])
    assert speed.main() == 0
    assert asked == [dict(iterations=20, workers=3)] * 4
    assert "| cls | 25.00 (7.14) | 100.00 (9.09) | 4.00 |" in capsys.readouterr().out
    written = json.loads((tmp_path / "runs" / "speed-mini.json").read_text())
    assert written["facts"]["workers"] == 3
    row = written["medians"]["cls"]
    assert row["auto"][speed.DEVICE] / row["fp32"][speed.DEVICE] == pytest.approx(4)
