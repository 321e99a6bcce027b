"""The common tricks of dense tasks: every task has them, and each does what it says."""

import runpy

import pytest
import torch
from mmengine.optim import OptimWrapper
from support.dense_world import result_of

from contract.settings import ROOT
from contract.tasks import DENSE_TRICKS
from engine.config import find, names

COMMON = names(ROOT / DENSE_TRICKS)
TOGETHER = ["ema", "clip_grad_norm", "few_shot_5", "layer_decay"]
ALONE = ["frozen_backbone"]
EMA = "exponential moving average, mean age"


def _values(path):
    found = runpy.run_path(str(path))
    return {name: value for name, value in found.items() if not name.startswith("__")}


@pytest.mark.parametrize(
    ("trick", "keys"),
    [
        ("few_shot_1", {"train_fraction": 0.01}),
        ("few_shot_5", {"train_fraction": 0.05}),
        ("few_shot_10", {"train_fraction": 0.1}),
        ("few_shot_20", {"train_fraction": 0.2}),
        ("frozen_backbone", {"frozen_backbone": True}),
        ("layer_decay", {"layer_decay": 0.7}),
        ("holdout", {"holdout": True}),
    ],
)
def test_protocols_share_one_key(world, trick, keys):
    assert _values(find(world.task.trick_folders, trick, "trick")) == keys


def test_task_trick_overrides_common_trick(world):
    det = world.name == "det"
    ema = _values(find(world.task.trick_folders, "ema", "trick"))["ema"]
    assert ema == dict(type="EpochEMAHook", epochs=0.5 if det else 1.0)
    clip = _values(find(world.task.trick_folders, "clip_grad_value", "trick"))["clip_grad"]
    assert clip == dict(_delete_=True, type="value", clip_value=1.0 if det else 0.1)


def test_every_common_trick_is_tested():
    # Below, in the tests of clipping and in test_holdout.py; the few-shot ones differ in a number alone.
    tried = {*TOGETHER, *ALONE, "clip_grad_value", "holdout"}
    assert tried | {f"few_shot_{percent}" for percent in (1, 10, 20)} == set(COMMON)


@pytest.mark.parametrize("tricks", [TOGETHER, ALONE], ids="+".join)
def test_common_tricks_train(world, tmp_path, checkpoint, tricks):
    work = tmp_path / "work"
    words = [word for trick in tricks for word in ("--trick", trick)]
    assert world.run(work, "--checkpoint", checkpoint, *words) == 0
    result = result_of(work)
    protocol = result["protocol"]
    assert result["tricks"] == tricks
    assert protocol["tricks"] == ", ".join(tricks)
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] > 0
    if tricks == ALONE:
        assert not {"weights", "images", "layer_decay"} & protocol.keys()
        assert "the whole backbone frozen, batch norm and all" in protocol["backbone"]
        return
    assert protocol["weights"] == f"{EMA} {world.age:g} epoch(s)"
    assert protocol["images"].startswith("5% of the training images, stratified by class")
    assert protocol["layer_decay"].startswith("learning rate times 0.7 for each stage")


@pytest.mark.parametrize(
    ("trick", "bound"), [("clip_grad_norm", "max_norm"), ("clip_grad_value", "clip_value")]
)
def test_gradients_are_clipped(world, tmp_path, monkeypatch, trick, bound):
    found = []
    clip = OptimWrapper._clip_grad

    def measure(self):
        clip(self)
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"]]
        flat = torch.cat([g.flatten() for g in gradients if g is not None])
        found.append(flat.norm() if trick == "clip_grad_norm" else flat.abs().max())

    monkeypatch.setattr(OptimWrapper, "_clip_grad", measure)
    options = ("--trick", trick, "--set", f"clip_grad.{bound}=0.001")
    assert world.run(tmp_path / "work", "--backbone", "resnet10_b-w8", *options) == 0
    assert [value.item() for value in found] == pytest.approx([0.001] * 2, rel=1e-3)


def test_both_clippings_are_refused(world, tmp_path, capsys):
    options = ("--trick", "clip_grad_norm", "--trick", "clip_grad_value")
    assert world.run(tmp_path / "work", "--backbone", "resnet10_b-w8", *options) == 2
    assert (
        "the tricks 'clip_grad_norm' and 'clip_grad_value' both set optim_wrapper.clip_grad.type "
        "('norm' and 'value'); choose one"
    ) in capsys.readouterr().err
