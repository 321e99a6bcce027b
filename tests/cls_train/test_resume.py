"""A run that is killed and started again ends like one that was not."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 18  # 3 epochs of 6


def _command(config, data, folder, *more):
    # Every source of randomness is on: augmentation, mixup, averaging of weights.
    words = [str(config), "--data", str(data), "--work-dir", str(folder), *more]
    words += ["--backbone", "resnet10_b-w8", "--recipe", "efficient", "--trick", "cosine"]
    words += ["--trick", "mixup", "--trick", "label_smoothing", "--seed", "3"]
    words += ["--set", "epochs_factor=1", "--set", "batch_size_factor=1"]
    # In a worker, since reading samples must not seed the draws of the training step.
    words += ["--set", "workers=1"]
    words += ["--trick", "ema"]
    return [sys.executable, "-m", "cls_train.train", *words]


def _environment():
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
        "TRICKBENCH_PROGRESS": "1",
    }


def _finish(command):
    done = subprocess.run(
        command, env=_environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [
        json.loads(line.removeprefix("@progress "))["step"]
        for line in done.stdout.splitlines()
        # Validations are reported too.
        if line.startswith("@progress ") and '"step"' in line
    ]


def _outcome(folder):
    result = json.loads((folder / "result.json").read_text())
    return {
        "metrics": result["metrics"],
        "curves": json.loads((folder / "curves.json").read_text()),
        "weights": hashlib.sha256((folder / "backbone.safetensors").read_bytes()).hexdigest(),
        "images": result["data"],
    }


@pytest.fixture(scope="module")
def uninterrupted(image_folder, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    steps = _finish(_command(tiny_config, image_folder, folder))
    assert steps[-1] == STEPS
    outcome = _outcome(folder)
    assert [point["step"] for point in outcome["curves"]["val"]] == [6, 12, 18]
    assert len(outcome["curves"]["train"]) == STEPS
    return folder, outcome


def _kill(command, folder):
    """Start a run and kill it in the middle of its last epoch."""
    process = subprocess.Popen(
        command,
        env=_environment(),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for line in process.stdout:
        # Progress is reported once a second; the file of an epoch appears at once.
        if line.startswith("@progress ") and (folder / "epoch_1.pth").exists():
            break
        if "Saving checkpoint at 2 epochs" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (folder / "result.json").exists()


def test_killed_run_matches_uninterrupted(image_folder, tiny_config, tmp_path, uninterrupted):
    folder = tmp_path / "killed"
    _kill(_command(tiny_config, image_folder, folder), folder)
    assert list(folder.glob("epoch_*.pth"))
    steps = _finish(_command(tiny_config, image_folder, folder, "--resume"))
    assert steps[0] > 6
    assert _outcome(folder) == uninterrupted[1]


def _copy(uninterrupted, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(uninterrupted[0], folder)
    for name in ("result.json", "curves.json", "backbone.safetensors"):
        (folder / name).unlink()
    return folder


def test_killed_before_result(image_folder, tiny_config, tmp_path, uninterrupted):
    folder = _copy(uninterrupted, tmp_path)
    steps = _finish(_command(tiny_config, image_folder, folder, "--resume"))
    assert steps == []
    assert _outcome(folder) == uninterrupted[1]
