"""Averaged weights in detection: what is evaluated, what the receipt vouches for, and going on after a stop."""

import json
import shutil

import pytest
import safetensors.torch
import torch

from engine.runner.loss_guard import NonFiniteLossHook

SETTINGS = (
    "train_cfg.max_epochs=3",
    "train_cfg.val_interval=2",
    "train_dataloader.batch_size=2",
    "auto_scale_lr.base_batch_size=2",
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
    "image_scale=(96, 96)",
)
OPTIONS = ["--trick", "ema", "--seed", "7", *(w for s in SETTINGS for w in ("--set", s))]


@pytest.fixture
def watched(monkeypatch):
    """The weights after every step, in `steps`, and those that predict, in `measured`."""
    from mmdet.models import FasterRCNN

    class Watched:
        steps, measured = [], []

    def state(model):
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    step, predict = NonFiniteLossHook.after_train_iter, FasterRCNN.predict

    def after_train_iter(self, runner, *arguments, **named):
        Watched.steps.append(state(runner.model))
        return step(self, runner, *arguments, **named)

    def watched_predict(self, *arguments, **named):
        Watched.measured.append(state(self))
        return predict(self, *arguments, **named)

    monkeypatch.setattr(NonFiniteLossHook, "after_train_iter", after_train_iter)
    monkeypatch.setattr(FasterRCNN, "predict", watched_predict)
    return Watched


def _load(folder, epoch):
    return torch.load(folder / f"epoch_{epoch}.pth", weights_only=True)


def test_the_average_is_evaluated_and_drawn(tiny_voc, tmp_path, run_det, watched):
    data, work = tiny_voc.root.parent, tmp_path / "work"
    assert run_det(data, work, "--backbone", "resnet10_b-w8", *OPTIONS, budget="full") == 0
    # Two steps an epoch, and a mean age of one step: momentum 1/2.
    assert len(watched.steps) == 6
    shares = [0.5**age for age in reversed(range(6))]
    stored = _load(work, 3)["state_dict"]
    moved = 0
    for name, tensor in stored.items():
        if not tensor.is_floating_point():
            continue
        states = [state[name] for state in watched.steps]
        expected = sum(s * w for s, w in zip(shares, states, strict=True)) / sum(shares)
        torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-6)
        moved += not torch.allclose(tensor, states[-1], rtol=1e-4, atol=1e-6)
    assert moved > 30
    # One batch of validation after epochs 2 and 3, then two pictures and what is timed; the first average is of
    # other steps.
    inference = json.loads((work / "result.json").read_text())["inference"]
    # Each of the two timings begins with a run that warms up.
    timed = sum(1 + inference[key] for key in ("runs", "batch_runs") if inference[key])
    assert len(watched.measured) == 1 + 1 + 2 + timed
    for state in watched.measured[1:]:
        assert all(torch.equal(state[name], tensor) for name, tensor in stored.items())
    assert not all(torch.equal(watched.measured[0][n], tensor) for n, tensor in stored.items())


def test_stopped_and_resumed_equals_uninterrupted(tiny_voc, tmp_path, run_det, checkpoint, watched):
    data, whole = tiny_voc.root.parent, tmp_path / "whole"
    options = ["--checkpoint", str(checkpoint), *OPTIONS]
    assert run_det(data, whole, *options, budget="full") == 0
    for epoch, steps in ((2, [4, 5]), (3, [])):
        broken = tmp_path / f"stopped-{epoch}"
        broken.mkdir()
        # All that a run leaves that is killed between this checkpoint and the validation that follows it.
        shutil.copy(whole / f"epoch_{epoch}.pth", broken)
        watched.steps.clear()
        assert run_det(data, broken, *options, "--resume", budget="full") == 0
        assert len(watched.steps) == len(steps)
        expected, found = (
            json.loads((folder / "result.json").read_text()) for folder in (whole, broken)
        )
        for key in ("metrics", "checkpoint", "protocol"):
            assert found[key] == expected[key], key
        assert (broken / "curves.json").read_text() == (whole / "curves.json").read_text()
        one, other = _load(whole, 3), _load(broken, 3)
        for part in ("state_dict", "ema_state_dict"):
            assert one[part].keys() == other[part].keys()
            assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])


def test_the_receipt_holds_and_what_is_frozen_stays(tiny_voc, tmp_path, run_det, checkpoint):
    data, work = tiny_voc.root.parent, tmp_path / "work"
    options = ["--checkpoint", str(checkpoint), *OPTIONS]
    assert run_det(data, work, *options, budget="full") == 0
    handed = safetensors.torch.load_file(checkpoint)
    result = json.loads((work / "result.json").read_text())
    trained = [name for name in handed if not name.startswith("fc.")]
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] == len(trained)
    saved = _load(work, 3)
    for state in (
        saved["state_dict"],
        {k.removeprefix("module."): v for k, v in saved["ema_state_dict"].items()},
    ):
        for name in trained:
            same = torch.equal(state[f"backbone.net.{name}"], handed[name])
            # The stem is frozen, and so are all statistics.
            frozen = name.startswith(("conv1", "bn1")) or "running" in name
            assert same or not frozen, name
        assert not torch.equal(
            state["backbone.net.layer4.0.conv1.weight"], handed["layer4.0.conv1.weight"]
        )
