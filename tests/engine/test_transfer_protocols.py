"""Frozen backbones, layer-wise decay and few images, as configs and as optimisers."""

import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

import backbones
from backbones import CheckpointMetadata
from contract.errors import UserError
from engine.adapter import TransferBackbone
from engine.cli import Options
from engine.dense.layer_decay import in_words, train_fraction, wire_layer_decay
from engine.dense.transfer import wire_backbone
from engine.job import Job

SPEC = "resnet10_b-w8"
ROOT = Path(__file__).parents[2]


class Detector(nn.Module):
    def __init__(self, spec=SPEC, **options):
        super().__init__()
        self.backbone = TransferBackbone(spec, **options)
        self.head = nn.Conv2d(64, 2, 1)

    def forward(self, x):
        return self.head(self.backbone(x)[-1])


def _config(**keys):
    wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.5, weight_decay=0.1))
    return Config(dict(optim_wrapper=wrapper, model=dict(backbone=dict()), **keys))


def _groups(wrapper, model):
    """The groups of the model's parameters; mmengine adds one of none, for the rate that it shows."""
    known = {id(p) for p in model.parameters()}
    return [g for g in wrapper.param_groups if id(g["params"][0]) in known]


@pytest.mark.parametrize("spec", [SPEC, "timm:resnet10t"])
def test_each_stage_learns_slower_than_the_next(spec):
    config = _config(layer_decay=0.5)
    wire_layer_decay(config)
    assert "layer_decay" not in config
    model = Detector(spec)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    rates = {id(g["params"][0]): g["lr"] for g in _groups(wrapper, model)}
    names = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert len(rates) == len(names)
    # What curves show: the rate of what no rule touches.
    assert wrapper.get_lr()["base_lr"] == [0.5]
    prefix = "backbone.net.trunk." if spec.startswith("timm") else "backbone.net."
    for name, rate in names.items():
        stage = name.removeprefix(prefix)
        # Five steps from the heads down to the stem: ResNets name their stages.
        depth = int(stage[5]) if stage.startswith("layer") else 0
        below = 0 if name.startswith("head") else 5 - depth
        assert rate == pytest.approx(0.5 * 0.5**below), name
    assert all(g["weight_decay"] == 0.1 for g in _groups(wrapper, model))


def test_other_rules_stay():
    config = _config(layer_decay=0.5)
    config.optim_wrapper.paramwise_cfg = dict(flat_decay_mult=0.0)
    wire_layer_decay(config)
    model = Detector()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    decays = {g["params"][0].ndim > 1: g["weight_decay"] for g in _groups(wrapper, model)}
    assert decays == {True: 0.1, False: 0.0}


def test_a_frozen_backbone_computes_and_does_not_learn():
    model = Detector(frozen=True)
    before = {name: t.clone() for name, t in model.backbone.net.state_dict().items()}
    model.train()
    assert not any(module.training for module in model.backbone.net.modules())
    loss = model(torch.rand(2, 3, 64, 64)).square().sum()
    loss.backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert model.head.weight.grad.abs().sum() > 0
    torch.optim.SGD(model.parameters(), 1.0).step()
    assert all(torch.equal(t, before[n]) for n, t in model.backbone.net.state_dict().items())


def test_a_network_that_tells_no_stages_can_be_frozen_whole(monkeypatch):
    network = backbones.create(SPEC)

    def stages():
        raise UserError("not known")

    network.stages = stages
    monkeypatch.setattr(backbones, "create", lambda *_, **__: network)
    assert TransferBackbone(SPEC, frozen=True).frozen == [network]


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, "10%", True])
def test_a_fraction_is_a_part(value):
    with pytest.raises(UserError, match="between 0 and 1, as 0"):
        train_fraction(_config(train_fraction=value))


@pytest.mark.parametrize("value", [0, 1.5, "0.7", True])
def test_a_decay_is_a_factor(value):
    with pytest.raises(UserError, match="expected a factor above 0 and at most 1"):
        wire_layer_decay(_config(layer_decay=value))


def test_what_is_frozen_needs_no_decay():
    config = _config(layer_decay=0.7)
    config.model.backbone.frozen = True
    with pytest.raises(UserError, match="contradict each other"):
        wire_layer_decay(config)


def test_the_protocol_says_it():
    config = _config(layer_decay=0.7, train_dataloader=dict(dataset=dict(fraction=0.05)))
    wire_layer_decay(config)
    told = in_words(config)
    assert told["images"].startswith("5% of the training images, stratified by class")
    assert told["layer_decay"].startswith("learning rate times 0.7 for each stage")
    plain = _config(train_dataloader=dict(dataset=dict()))
    assert in_words(plain) == {}


@pytest.mark.parametrize(
    ("asked_for", "left"), [({}, -1), ({"model.backbone.frozen_stages": 0}, 0)]
)
def test_a_default_that_cannot_be_kept_is_told(monkeypatch, capsys, tmp_path, asked_for, left):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "backbones"))
    options = Options(config="mini", data=tmp_path, work_dir=tmp_path, overrides=asked_for)
    source = CheckpointMetadata("x", "r", (), None, (1.0,) * 3, (1.0,) * 3, "RGB", 0, "raw")
    job = Job(options, "own_networks:Scaled", source, None)
    config = Config(dict(batch_norm="frozen", model=dict(backbone=dict(frozen_stages=0))))
    wire_backbone(job, config)
    assert config.model.backbone.frozen_stages == left
    assert ("frozen_stages=0 cannot be kept" in capsys.readouterr().out) == (left == -1)


@pytest.mark.parametrize("stage", ["det", "seg"])
@pytest.mark.parametrize(
    ("trick", "keys"),
    [
        ("few_shot_1", {"train_fraction": 0.01}),
        ("few_shot_5", {"train_fraction": 0.05}),
        ("few_shot_10", {"train_fraction": 0.1}),
        ("few_shot_20", {"train_fraction": 0.2}),
        ("frozen_backbone", {"frozen_backbone": True}),
        ("layer_decay", {"layer_decay": 0.7}),
    ],
)
def test_each_protocol_is_one_word(stage, trick, keys):
    found = runpy.run_path(str(ROOT / stage / "configs" / "tricks" / f"{trick}.py"))
    assert {name: value for name, value in found.items() if not name.startswith("__")} == keys
