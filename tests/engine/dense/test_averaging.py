"""The trick `ema`: evaluation, load report, and resuming."""

import shutil

import pytest
import safetensors.torch
import torch
from support.dense_world import result_of

from engine.runner.loss_guard import NonFiniteLossHook


@pytest.fixture
def options(world):
    """Six steps, saved and validated as the test below counts them."""
    # A mean age of one step in both tasks: half an epoch of two steps in det, and in seg of the batches that its
    # loop counts as an epoch.
    return ["--trick", "ema", "--seed", "7", *world.settings(3, 2)]


@pytest.fixture
def watched(world, monkeypatch):
    """The weights after every step in `steps`, and the predicting ones in `measured`."""
    steps, measured = [], []
    step, predict = NonFiniteLossHook.after_train_iter, world.network.predict

    def state(model):
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def after_train_iter(self, runner, *arguments, **named):
        steps.append(state(runner.model))
        return step(self, runner, *arguments, **named)

    def watched_predict(self, *arguments, **named):
        measured.append(state(self))
        return predict(self, *arguments, **named)

    # The trained weights are only in checkpoints of a run that is not finished.
    monkeypatch.setattr("engine.task.keep_the_network", lambda work_dir: None)
    monkeypatch.setattr(NonFiniteLossHook, "after_train_iter", after_train_iter)
    monkeypatch.setattr(world.network, "predict", watched_predict)
    return steps, measured


def _load(world, folder, epoch=3):
    return torch.load(world.saved(folder, epoch), weights_only=True)


def test_average_is_evaluated_drawn_and_resumed(world, tmp_path, options, watched):
    steps, measured = watched
    whole = tmp_path / "whole"
    options = ["--backbone", "resnet10_b-w8", *options]
    assert world.run(whole, *options, budget="full") == 0
    assert len(steps) == 6
    last = _load(world, whole)
    # A mean age of one step or two: momentum 1/2, since it is at most that.
    weights = [0.5**age for age in reversed(range(6))]
    moved = 0
    for name, tensor in last["state_dict"].items():
        if tensor.is_floating_point():
            states = [state[name] for state in steps]
            expected = sum(s * w for s, w in zip(weights, states, strict=True)) / sum(weights)
            torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-6)
            moved += not torch.allclose(tensor, states[-1], rtol=1e-4, atol=1e-6)
            assert torch.equal(last["ema_state_dict"][f"module.{name}"], states[-1])
    assert moved > 30
    # det tests its two images in one batch, seg one by one; after epochs 2 and 3, then two pictures and what is timed.
    batches = 1 if world.name == "det" else 2
    inference = result_of(whole)["inference"]
    # Each of the two timings begins with a run that warms up.
    timed = sum(1 + inference[key] for key in ("runs", "batch_runs") if inference[key])
    assert len(measured) == 2 * batches + 2 + timed
    # The first average covers other steps.
    for state in measured[batches:]:
        assert all(torch.equal(state[n], tensor) for n, tensor in last["state_dict"].items())
    assert not all(torch.equal(measured[0][n], tensor) for n, tensor in last["state_dict"].items())

    # The leftovers of a run that is killed between a checkpoint and the following validation.
    for epoch in (2, 3):
        broken = tmp_path / f"stopped-{epoch}"
        broken.mkdir()
        shutil.copy(world.saved(whole, epoch), broken)
        steps.clear()
        assert world.run(broken, *options, "--resume", budget="full") == 0
        assert len(steps) == 6 - 2 * epoch
        for key in ("metrics", "checkpoint", "protocol"):
            assert result_of(broken)[key] == result_of(whole)[key], key
        assert (broken / "curves.json").read_text() == (whole / "curves.json").read_text()
        other = _load(world, broken)
        for part in ("state_dict", "ema_state_dict"):
            assert last[part].keys() == other[part].keys()
            assert all(torch.equal(last[part][name], other[part][name]) for name in last[part])


@pytest.mark.parametrize("world", ["det"], indirect=True)
def test_load_report_and_frozen_parts(world, tmp_path, checkpoint, options, monkeypatch):
    # The trained weights are only in checkpoints of a run that is not finished.
    monkeypatch.setattr("engine.task.keep_the_network", lambda work_dir: None)
    work = tmp_path / "work"
    assert world.run(work, "--checkpoint", checkpoint, *options, budget="full") == 0
    stored = safetensors.torch.load_file(checkpoint)
    report = result_of(work)["checkpoint"]
    trained = [name for name in stored if not name.startswith("fc.")]
    assert report["matched"] == report["total"] == len(trained)
    saved = _load(world, work)
    raw = {k.removeprefix("module."): v for k, v in saved["ema_state_dict"].items()}
    for state in (saved["state_dict"], raw):
        for name in trained:
            same = torch.equal(state[f"backbone.net.{name}"], stored[name])
            # The stem is frozen, and so are all statistics.
            frozen = name.startswith(("conv1", "bn1")) or "running" in name
            assert same or not frozen, name
        changed = state["backbone.net.layer4.0.conv1.weight"]
        assert not torch.equal(changed, stored["layer4.0.conv1.weight"])
