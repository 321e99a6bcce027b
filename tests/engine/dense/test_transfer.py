"""The backbone of a dense task, and which of its parts train."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from support.networks import SPEC, Detector

import backbones
from backbones import CheckpointMetadata
from contract.errors import UserError
from engine.adapter import TransferBackbone
from engine.cli import Options
from engine.dense.transfer import wire_backbone
from engine.job import Job


def test_frozen_backbone_does_not_learn():
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


def test_network_without_stages_is_frozen_whole(monkeypatch):
    network = backbones.create(SPEC)

    def stages():
        raise UserError("not known")

    network.stages = stages
    monkeypatch.setattr(backbones, "create", lambda *_, **__: network)
    assert TransferBackbone(SPEC, frozen=True).frozen == [network]


@pytest.mark.parametrize(
    ("asked_for", "left"), [({}, -1), ({"model.backbone.frozen_stages": 0}, 0)]
)
def test_impossible_freezing_default_is_reported(monkeypatch, capsys, tmp_path, asked_for, left):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "support"))
    options = Options(config="mini", data=tmp_path, work_dir=tmp_path, overrides=asked_for)
    source = CheckpointMetadata("x", "r", (), None, (1.0,) * 3, (1.0,) * 3, "RGB", 0, "raw")
    job = Job(options, "own_networks:Scaled", source, None)
    config = Config(dict(batch_norm="frozen", model=dict(backbone=dict(frozen_stages=0))))
    wire_backbone(job, config)
    assert config.model.backbone.frozen_stages == left
    assert ("frozen_stages=0 cannot be kept" in capsys.readouterr().out) == (left == -1)
