"""Sizes of many backbones: without random weights, by several processes, and the same as by building each."""

import torch

import backbones
from contract.errors import UserError
from engine import describe

SPECS = ("resnet10_d-w16", "timm:resnet10t", "torchvision:mobilenet_v3_small", "resnett10")


def expected(spec):
    try:
        return {"parameters": backbones.count_parameters(backbones.create(spec))}
    except UserError as error:
        return {"error": str(error)}


def test_sizes_in_one_process_and_in_several(monkeypatch):
    answers = {spec: expected(spec) for spec in SPECS}
    assert "resnett10" in answers["resnett10"]["error"]
    assert describe._sizes(SPECS) == answers
    monkeypatch.setattr(describe, "_LEAST_IN_PARALLEL", 2)
    monkeypatch.setattr(describe.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert describe._sizes(SPECS) == answers


def test_draws_are_left_out():
    with describe._WithoutDraws():
        layer = torch.nn.Linear(3, 3)
        torch.nn.init.constant_(layer.weight, 2)
        torch.nn.init.kaiming_uniform_(layer.weight)
        torch.nn.init.xavier_uniform_(layer.weight)
        layer.weight.data.uniform_()
        # torch repeats the draws until all lie in the range, so they must be drawn.
        drawn = torch.nn.init.trunc_normal_(torch.full((3,), 9.0), a=-2, b=2)
    assert torch.equal(layer.weight.data, torch.full((3, 3), 2.0))
    assert drawn.abs().max() <= 2
