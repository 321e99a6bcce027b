"""Every trick of the segmentation stage trains; averaged weights are evaluated, drawn and resumed."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from engine.runner.loss_guard import NonFiniteLossHook

ROOT = Path(__file__).parents[2]
TRICKS = sorted(p.stem for p in (ROOT / "seg" / "configs" / "tricks").glob("*.py"))
SETTINGS = (
    "train_cfg.max_iters=6",
    "train_cfg.val_interval=4",
    "default_hooks.checkpoint.interval=2",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
    "image_scale=(96, 96)",
    "crop_size=(64, 64)",
)
OPTIONS = ["--backbone", "resnet10_b-w8", "--trick", "ema", "--seed", "7"]
OPTIONS += [word for setting in SETTINGS for word in ("--set", setting)]


def _words(tricks):
    return [word for trick in tricks for word in ("--trick", trick)]


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def test_the_tricks_are_these():
    few = [f"few_shot_{n}" for n in (1, 10, 20, 5)]
    others = ["frozen_backbone", "holdout", "layer_decay", "multi_scale_flip", "sliding"]
    assert ["clip_grad_norm", "clip_grad_value", "ema", *few, *others] == TRICKS


@pytest.mark.parametrize(
    "tricks",
    [["ema"], ["clip_grad_value"], ["clip_grad_norm", "ema", "multi_scale_flip", "sliding"]],
    ids="+".join,
)
def test_a_run_with_tricks(tiny_ade, tmp_path, run_seg, checkpoint, tricks):
    work = tmp_path / "work"
    assert run_seg(tiny_ade.root, work, "--checkpoint", checkpoint, *_words(tricks)) == 0
    result = _result(work)
    assert result["tricks"] == tricks
    assert result["protocol"]["tricks"] == ", ".join(tricks)
    averaged = "exponential moving average, mean age 1 epoch(s)"
    assert result["protocol"].get("weights") == (averaged if "ema" in tricks else None)
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] > 0


def test_both_clippings_at_once_are_refused(tiny_ade, tmp_path, run_seg, capsys):
    tricks = _words(["clip_grad_norm", "clip_grad_value"])
    options = ("--backbone", "resnet10_b-w8", *tricks)
    assert run_seg(tiny_ade.root, tmp_path / "work", *options) == 2
    assert "both set optim_wrapper.clip_grad.type ('norm' and 'value')" in capsys.readouterr().err


def _load(folder, step):
    return torch.load(folder / f"iter_{step}.pth", weights_only=True)


@pytest.fixture
def watched(monkeypatch):
    """The weights after every step, in `steps`, and those that predict, in `measured`."""
    from mmseg.models import EncoderDecoder

    steps, measured = [], []
    step, predict = NonFiniteLossHook.after_train_iter, EncoderDecoder.predict

    def state(model):
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def after_train_iter(self, runner, *arguments, **named):
        steps.append(state(runner.model))
        return step(self, runner, *arguments, **named)

    def watched_predict(self, *arguments, **named):
        measured.append(state(self))
        return predict(self, *arguments, **named)

    monkeypatch.setattr(NonFiniteLossHook, "after_train_iter", after_train_iter)
    monkeypatch.setattr(EncoderDecoder, "predict", watched_predict)
    return steps, measured


def test_the_average_is_evaluated_drawn_and_resumed(tiny_ade, tmp_path, run_seg, watched):
    steps, measured = watched
    whole = tmp_path / "whole"
    assert run_seg(tiny_ade.root, whole, *OPTIONS, budget="full") == 0
    # Two steps an epoch, though the loop knows no epochs: momentum 1/2.
    assert len(steps) == 6
    shares = [0.5**age for age in reversed(range(6))]
    last = _load(whole, 6)
    moved = 0
    for name, tensor in last["state_dict"].items():
        if tensor.is_floating_point():
            states = [state[name] for state in steps]
            expected = sum(s * w for s, w in zip(shares, states, strict=True)) / sum(shares)
            torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-6)
            moved += not torch.allclose(tensor, states[-1], rtol=1e-4, atol=1e-6)
            assert torch.equal(last["ema_state_dict"][f"module.{name}"], states[-1])
    assert moved > 30
    # Two images after steps 4 and 6, then two pictures, then what is timed.
    inference = _result(whole)["inference"]
    # Each of the two timings begins with a run that warms up.
    timed = sum(1 + inference[key] for key in ("runs", "batch_runs") if inference[key])
    assert len(measured) == 2 + 2 + 2 + timed
    for state in measured[2:]:
        assert all(torch.equal(state[n], tensor) for n, tensor in last["state_dict"].items())

    # What is left of a run that is killed between a checkpoint and the validation that follows it.
    for stop in (4, 6):
        broken = tmp_path / f"stopped-{stop}"
        broken.mkdir()
        shutil.copy(whole / f"iter_{stop}.pth", broken)
        steps.clear()
        assert run_seg(tiny_ade.root, broken, *OPTIONS, "--resume", budget="full") == 0
        assert len(steps) == 6 - stop
        for key in ("metrics", "protocol"):
            assert _result(broken)[key] == _result(whole)[key], key
        assert (broken / "curves.json").read_text() == (whole / "curves.json").read_text()
        other = _load(broken, 6)
        for part in ("state_dict", "ema_state_dict"):
            assert all(torch.equal(last[part][name], other[part][name]) for name in last[part])
