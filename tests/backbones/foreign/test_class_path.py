"""The user's own networks, by the path of their class."""

import pytest
import torch

import backbones
from contract.errors import UserError


def test_class_with_one_map():
    for output_stride in (32, 8):
        network = backbones.create("own_networks:Patches", output_stride=output_stride)
        assert network.plain
        assert [(f.channels, f.stride) for f in network.feature_info] == [(8, 16)]
        assert network(torch.rand(1, 3, 75, 100))[0].shape == (1, 8, 5, 7)


def test_class_with_output_stride():
    network = backbones.create("own_networks:Named", output_stride=8)
    assert network.trunk.asked == 8
    assert [f.stride for f in network.feature_info] == [4, 8, 8, 8]


def test_stage_boundaries_of_own_network():
    network = backbones.create("own_networks:Maps")
    network.freeze(1)
    frozen = {name.split(".")[2] for name, p in network.named_parameters() if not p.requires_grad}
    # The first of its five maps, at stride 2, is none of the four that are taken.
    assert frozen == {"0", "1"}


def test_no_stages_without_hooked_modules():
    network = backbones.create("own_networks:Scaled")
    assert network.freeze(-1) == []
    with pytest.raises(UserError, match="frozen_stages=-1"):
        network.freeze(1)
