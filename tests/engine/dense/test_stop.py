"""A dense task that is stopped and resumed ends like one that was not; det counts epochs, seg iterations."""

import functools
import json
import signal

import torch
from support.dense_world import result_of
from support.stopping import stopped_run

from engine.runner.checkpoint_files import checkpoints


def test_stopped_run_equals_uninterrupted(world, tmp_path, checkpoint, capsys, monkeypatch):
    monkeypatch.setattr("engine.measure.costs.SECONDS", 0)
    options = ["--checkpoint", str(checkpoint), "--seed", "7", *world.settings(3, 2)]
    if world.by_epoch:
        # Each step in two passes.
        options += ["--set", "train_dataloader.batch_size=1"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert world.run(whole, *options, budget="full") == 0

    def run(*more):
        return world.run(stopped, *options, *more, budget="full")

    found = functools.partial(checkpoints, stopped)
    # Two iterations are an epoch.
    stopped_run(run, 1, resume=False, capsys=capsys)
    assert [path.name for path in found()] == [
        "epoch_0_iter_1.pth" if world.by_epoch else "iter_1.pth"
    ]
    stopped_run(run, 4, number=signal.SIGTERM, in_validation=True, capsys=capsys)
    assert found()[0] == world.saved(stopped, 2)
    stopped_run(run, 5, number=signal.SIGTERM, capsys=capsys)
    assert run("--resume") == 0

    expected, outcome = result_of(whole), result_of(stopped)
    for key in ("metrics", "checkpoint", "transferability", "data", "model", "protocol"):
        assert outcome[key] == expected[key], key
    curves = [json.loads((folder / "curves.json").read_text()) for folder in (whole, stopped)]
    assert curves[0] == curves[1]
    assert [point["step"] for point in curves[0]["train"]] == list(range(1, 7))
    states = [
        torch.load(world.saved(folder, 3), weights_only=True)["state_dict"]
        for folder in (whole, stopped)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
