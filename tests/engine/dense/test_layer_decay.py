"""Layer-wise decay of the learning rate, as a config and as an optimiser."""

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from support.networks import SPEC, Detector

from contract.errors import UserError
from engine.dense.layer_decay import wire_layer_decay


def _config(**keys):
    wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.5, weight_decay=0.1))
    return Config(dict(optim_wrapper=wrapper, model=dict(backbone=dict()), **keys))


def _groups(wrapper, model):
    """The groups of the model's parameters; mmengine adds an empty one to log its rate."""
    known = {id(p) for p in model.parameters()}
    return [g for g in wrapper.param_groups if id(g["params"][0]) in known]


@pytest.mark.parametrize("spec", [SPEC, "timm:resnet10t"])
def test_lr_of_each_stage(spec):
    config = _config(layer_decay=0.5)
    wire_layer_decay(config)
    assert "layer_decay" not in config
    model = Detector(spec)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    rates = {id(g["params"][0]): g["lr"] for g in _groups(wrapper, model)}
    names = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert len(rates) == len(names)
    # Curves show the rate of parameters that no rule touches.
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


@pytest.mark.parametrize("value", [0, 1.5, "0.7", True])
def test_decay_out_of_range(value):
    with pytest.raises(UserError, match="expected a factor above 0 and at most 1"):
        wire_layer_decay(_config(layer_decay=value))


def test_frozen_backbone_conflict():
    config = _config(layer_decay=0.7)
    config.model.backbone.frozen = True
    with pytest.raises(UserError, match="contradict each other"):
        wire_layer_decay(config)
