"""A killed and resumed run equals an uninterrupted one; det counts epochs, seg iterations."""

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
from support.dense_world import result_of

from engine.runner.loss_guard import NonFiniteLossHook

ROOT = Path(__file__).parents[3]


def _kill_after(command, file):
    """Start a command and kill only this process when a file appears."""
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
    """The iterations that this process trains; a run that starts over would end with equal numbers too."""
    seen = []
    original = NonFiniteLossHook.after_train_iter

    def spy(self, runner, *arguments, **named):
        seen.append(runner.iter)
        return original(self, runner, *arguments, **named)

    monkeypatch.setattr(NonFiniteLossHook, "after_train_iter", spy)
    return seen


def _assert_same(world, whole, other):
    """Results, curves and final weights of two work dirs are equal to the last bit."""
    expected, found = result_of(whole), result_of(other)
    for key in ("metrics", "checkpoint", "transferability", "data", "model", "protocol"):
        assert found[key] == expected[key], key
    assert (other / "curves.json").read_text() == (whole / "curves.json").read_text()
    states = [
        torch.load(world.saved(folder, 4), weights_only=True)["state_dict"]
        for folder in (whole, other)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_killed_and_resumed_equals_uninterrupted(world, tmp_path, steps, checkpoint):
    options = ["--checkpoint", str(checkpoint), "--seed", "7", *world.settings(4, 2)]
    options += ["--set", "train_dataloader.num_workers=1", "--set", "val_dataloader.num_workers=1"]
    if world.by_epoch:
        # Each step in two micro-batches.
        options += ["--set", "train_dataloader.batch_size=1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert world.run(whole, *options, budget="full") == 0
    assert steps == list(range(8))

    # With a due validation that the killed run may have missed; if the last file is torn, the one before is complete.
    _kill_after([sys.executable, *world.command(broken, *options)], world.saved(broken, 2))
    assert not (broken / "result.json").exists()
    assert not world.saved(broken, 4).exists()

    steps.clear()
    assert world.run(broken, *options, "--resume", budget="full") == 0
    assert steps == list(range(8))[-len(steps) :] and 0 < len(steps) < 8
    _assert_same(world, whole, broken)
    curves = json.loads((whole / "curves.json").read_text())
    assert [point["step"] for point in curves["train"]] == list(range(1, 9))
    assert [point["step"] for point in curves["val"]] == [4, 8]
    report = result_of(broken)["checkpoint"]
    assert report["matched"] == report["total"] > 0

    # Killed after the last checkpoint, and before the validation that follows it.
    late = tmp_path / "late"
    late.mkdir()
    shutil.copy(world.saved(whole, 4), late)
    steps.clear()
    assert world.run(late, *options, "--resume", budget="full") == 0
    assert steps == []
    _assert_same(world, whole, late)
