"""Checkpoints of a small network, and the refusal of a wrong one."""

import pytest
import torch

import backbones
from backbones import CheckpointError, CheckpointMetadata
from contract.errors import UserError

SPEC = "resnet10_d-w8"
METADATA = CheckpointMetadata(
    spec=SPEC,
    recipe="efficient",
    tricks=("cosine", "mixup"),
    top1=71.25,
    mean=(123.68, 116.779, 103.939),
    std=(58.393, 57.12, 57.375),
    channel_order="RGB",
    seed=3,
    weights="ema",
)


def refusal(path, module=None, **options):
    """Load, expect a refusal that leaves the module unchanged, and return its message."""
    module = backbones.create(SPEC) if module is None else module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        backbones.load_checkpoint(module, path, **options)
    assert isinstance(error.value, UserError)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message
