"""A segmentation run that is killed and started again ends as if nothing had happened."""

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
    "train_cfg.max_iters=9",
    "train_cfg.val_interval=3",
    "default_hooks.checkpoint.interval=3",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=1",
    "val_dataloader.num_workers=1",
    "image_scale=(96, 96)",
    "crop_size=(64, 64)",
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
    states = [torch.load(f / "iter_9.pth", weights_only=True)["state_dict"] for f in (whole, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_killed_and_resumed_equals_uninterrupted(tiny_ade, tmp_path, steps, run_seg):
    data = tiny_ade.root
    options = ["--backbone", "resnet10_b-w8", "--seed", "7"]
    for setting in SETTINGS:
        options += ["--set", setting]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_seg(data, whole, *options, budget="full") == 0
    assert steps == list(range(9))

    command = [
        sys.executable,
        "-m",
        "seg.train",
        "mini",
        "--data",
        data,
        "--work-dir",
        broken,
        *options,
    ]
    # With a validation due that the killed run may not have come to; should the file be torn, iter_3.pth is whole.
    _kill_after(list(map(str, command)), broken / "iter_6.pth")
    assert not (broken / "result.json").exists()
    assert not (broken / "iter_9.pth").exists()

    steps.clear()
    assert run_seg(data, broken, *options, "--resume", budget="full") == 0
    assert steps == list(range(9))[-len(steps) :] and 0 < len(steps) < 9
    _assert_same(whole, broken)
    curves = json.loads((whole / "curves.json").read_text())
    assert [point["step"] for point in curves["train"]] == list(range(1, 10))
    assert [point["step"] for point in curves["val"]] == [3, 6, 9]

    # Killed after the last checkpoint, and before the validation that follows it.
    late = tmp_path / "late"
    late.mkdir()
    shutil.copy(whole / "iter_9.pth", late)
    steps.clear()
    assert run_seg(data, late, *options, "--resume", budget="full") == 0
    assert steps == []
    _assert_same(whole, late)
