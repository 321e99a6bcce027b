"""A checkpoint of a small network."""

import pytest
import torch
from support.refusals import METADATA, SPEC

import backbones


@pytest.fixture
def trained():
    """A network whose every tensor differs from that of a fresh one."""
    torch.manual_seed(7)
    network = backbones.create(SPEC)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    return network


@pytest.fixture
def path(tmp_path, trained):
    path = tmp_path / "backbone.safetensors"
    backbones.export_checkpoint(trained, path, METADATA)
    return path
