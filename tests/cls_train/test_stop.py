"""A classifier that is asked to stop saves within an epoch, and ends like one that was not stopped."""

import functools
import hashlib
import itertools
import json
import signal
from types import SimpleNamespace

import pytest
import torch
from support.runners import forget_runs
from support.stopping import stopped_run

from cls_train.train import Classification
from engine.runner import checkpoint_files
from engine.runner.checkpoint_files import checkpoints
from engine.task import main

STEPS = 18  # 3 epochs of 6


@pytest.fixture(scope="module")
def start(image_folder, tiny_config):
    """Train with every source of randomness; return the exit status."""

    def run(folder, *more):
        forget_runs()
        words = [
            str(tiny_config),
            "--data",
            str(image_folder),
            "--work-dir",
            str(folder),
            "--seed",
            "3",
        ]
        words += ["--backbone", "resnet10_b-w8", "--recipe", "efficient", "--trick", "cosine"]
        words += ["--trick", "mixup", "--trick", "label_smoothing", "--trick", "ema"]
        words += ["--set", "epochs_factor=1", "--set", "batch_size_factor=1", "--budget", "full"]
        with pytest.MonkeyPatch.context() as patch:
            # Costs are not what is tested.
            patch.setattr("engine.measure.costs.SECONDS", 0)
            return main(Classification(), [*words, *map(str, more)])

    return run


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert start(folder) == 0
    return folder


def _outcome(folder):
    result = json.loads((folder / "result.json").read_text())
    (last,) = checkpoints(folder)
    weights = torch.load(last, weights_only=True)["state_dict"]
    return {
        "metrics": result["metrics"],
        "curves": json.loads((folder / "curves.json").read_text()),
        "exported": hashlib.sha256((folder / "backbone.safetensors").read_bytes()).hexdigest(),
        "weights": {name: tensor.tolist() for name, tensor in weights.items()},
    }


def test_stopped_run_matches_uninterrupted(start, tmp_path, uninterrupted, capsys):
    run = functools.partial(start, tmp_path)
    # In the middle of the second epoch.
    said = stopped_run(run, 8, resume=False, capsys=capsys)
    assert said == (
        "stopped: iteration 8 of 18 is saved; run the same command with --resume to go on"
    )
    assert [path.name for path in checkpoints(tmp_path)] == ["epoch_1_iter_8.pth", "epoch_1.pth"]
    # Twice in the last iteration of an epoch, whose end saves.
    stopped_run(run, 12, number=signal.SIGTERM, times=2, capsys=capsys)
    assert checkpoints(tmp_path)[0].name == "epoch_2.pth"
    stopped_run(run, 13, capsys=capsys)
    # Nothing is lost in a validation.
    said = stopped_run(run, 18, number=signal.SIGTERM, in_validation=True, capsys=capsys)
    assert "nothing was lost since the last checkpoint" in said
    assert checkpoints(tmp_path)[0].name == "epoch_3.pth"
    assert not (tmp_path / "result.json").exists()
    assert run("--resume") == 0
    assert _outcome(tmp_path) == _outcome(uninterrupted)


def test_saves_by_the_clock(start, tmp_path, uninterrupted, monkeypatch):
    # The clock goes on by a second whenever it is read: once in an iteration, and after a checkpoint.
    seconds = map(float, itertools.count())
    monkeypatch.setattr(
        "engine.runner.checkpoint.time", SimpleNamespace(monotonic=lambda: next(seconds))
    )
    saved = []
    complete = checkpoint_files.complete

    def spy(folder, name):
        complete(folder, name)
        saved.append((name, sorted(path.name for path in checkpoint_files.checkpoints(folder))))

    monkeypatch.setattr("engine.runner.checkpoint.checkpoint_files.complete", spy)
    assert start(tmp_path, "--checkpoint-minutes", 4 / 60) == 0
    names = [name for name, _ in saved]
    assert names[:3] == ["epoch_0_iter_4.pth", "epoch_1.pth", "epoch_1_iter_10.pth"]
    assert max(len(kept) for _, kept in saved) == 2
    assert _outcome(tmp_path) == _outcome(uninterrupted)


def test_torn_checkpoint_costs_the_way_from_the_one_before(start, tmp_path, uninterrupted, capsys):
    run = functools.partial(start, tmp_path)
    stopped_run(run, 14, resume=False, capsys=capsys)
    newest, before = checkpoint_files.checkpoints(tmp_path)
    assert (newest.name, before.name) == ("epoch_2_iter_14.pth", "epoch_2.pth")
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    # What a kill leaves that comes while a checkpoint is written.
    (tmp_path / ".epoch_3.pth").write_bytes(b"")
    assert run("--resume") == 0
    assert _outcome(tmp_path) == _outcome(uninterrupted)


def test_finished_run_keeps_one_network(uninterrupted):
    (path,) = checkpoints(uninterrupted)
    assert path.name == "epoch_3.pth"
    assert set(torch.load(path, weights_only=True)) == {"meta", "state_dict", "message_hub"}
