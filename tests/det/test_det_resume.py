"""A detection run that is killed and started again ends as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.runner.loss_guard import NonFiniteLossHook

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "train_cfg.max_epochs=4",
    "train_cfg.val_interval=2",
    # Each step in two micro-batches.
    "train_dataloader.batch_size=1",
    "auto_scale_lr.base_batch_size=2",
    "train_dataloader.num_workers=1",
    "val_dataloader.num_workers=1",
    "image_scale=(96, 96)",
)


def _kill_after(command, file):
    """Start a command and kill it, and nothing but it, as soon as a file stands there."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    with open(file.parent.parent / "killed.txt", "w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        while not file.exists():
            assert process.poll() is None, Path(output.name).read_text()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def steps(monkeypatch):
    """The iterations that this process trains; a run that starts anew would end with equal numbers too."""
    seen = []
    original = NonFiniteLossHook.after_train_iter

    def spy(self, runner, *arguments, **named):
        seen.append(runner.iter)
        return original(self, runner, *arguments, **named)

    monkeypatch.setattr(NonFiniteLossHook, "after_train_iter", spy)
    return seen


def _assert_same(whole, other):
    """Results, curves and final weights of two work dirs are equal to the last bit."""
    expected, found = (
        json.loads((folder / "result.json").read_text()) for folder in (whole, other)
    )
    for key in ("metrics", "checkpoint", "transferability", "data", "model", "protocol"):
        assert found[key] == expected[key], key
    assert (other / "curves.json").read_text() == (whole / "curves.json").read_text()
    states = [
        torch.load(f / "epoch_4.pth", weights_only=True)["state_dict"] for f in (whole, other)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_killed_and_resumed_equals_uninterrupted(tiny_voc, tmp_path, steps, run_det, checkpoint):
    data = tiny_voc.root.parent
    options = ["--checkpoint", str(checkpoint), "--seed", "7"]
    for setting in SETTINGS:
        options += ["--set", setting]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_det(data, whole, *options, budget="full") == 0
    assert steps == list(range(8))

    command = [
        sys.executable,
        "-m",
        "det.train",
        "mini",
        "--data",
        data,
        "--work-dir",
        broken,
        *options,
    ]
    # With a validation due that the killed run may not have come to; should the file be torn, epoch_1.pth is whole.
    _kill_after(list(map(str, command)), broken / "epoch_2.pth")
    assert not (broken / "result.json").exists()
    assert not (broken / "epoch_4.pth").exists()

    steps.clear()
    assert run_det(data, broken, *options, "--resume", budget="full") == 0
    assert steps == list(range(8))[-len(steps) :] and 0 < len(steps) < 8
    _assert_same(whole, broken)
    curves = json.loads((whole / "curves.json").read_text())
    assert [point["step"] for point in curves["train"]] == list(range(1, 9))
    assert [point["step"] for point in curves["val"]] == [4, 8]
    receipt = json.loads((broken / "result.json").read_text())["checkpoint"]
    assert receipt["matched"] == receipt["total"] > 0

    # Killed after the last checkpoint, and before the validation that follows it.
    late = tmp_path / "late"
    late.mkdir()
    shutil.copy(whole / "epoch_4.pth", late)
    steps.clear()
    assert run_det(data, late, *options, "--resume", budget="full") == 0
    assert steps == []
    _assert_same(whole, late)
