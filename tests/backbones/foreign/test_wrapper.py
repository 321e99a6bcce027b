"""Sizes, stages and copies of foreign networks."""

import copy
import math

import pytest
import torch

import backbones


@pytest.mark.parametrize(
    "spec",
    [
        "timm:mobilenetv3_small_050",
        "timm:swin_s3_tiny_224",
        "own_networks:Maps",
        "own_networks:Classifier",
    ],
)
def test_any_image_size(spec):
    network = backbones.create(spec)
    network.train()
    image = torch.rand(2, 3, 75, 100, requires_grad=True)
    found = network(image)
    assert [f.stride for f in network.feature_info] == [4, 8, 16, 32]
    for feature, values in zip(network.feature_info, found, strict=True):
        sides = (math.ceil(75 / feature.stride), math.ceil(100 / feature.stride))
        assert values.shape == (2, feature.channels, *sides)
    # Several processes would wait for a gradient that never comes.
    sum(values.square().mean() for values in found).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert len(network(image, 2)) == 2


@pytest.mark.parametrize(
    "spec",
    ["timm:resnet18", "timm:tf_efficientnet_lite0", "timm:convnext_atto", "own_networks:Maps"],
)
def test_stages_partition_tensors(spec):
    network = backbones.create(spec)
    groups = network.stages()
    held = [
        id(tensor)
        for group in groups
        for module in group
        for tensor in (*module.parameters(), *module.buffers())
    ]
    everything = [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
    assert sorted(held) == sorted(everything)
    assert len(groups) == 5
    assert all(groups)


def test_freezes_by_depth():
    network = backbones.create("timm:resnet18")
    network.freeze(2)
    frozen = {name.split(".")[1] for name, p in network.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert trained == {"layer3", "layer4"}


def test_freezes_root_parameters():
    # Its scales lie in the blocks beside their layers, not in modules of their own.
    network = backbones.create("timm:convnext_atto")
    network.freeze(4)
    assert not any(p.requires_grad for p in network.parameters())


def test_copy_has_own_weights():
    network = backbones.create("own_networks:Classifier").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = [values.clone() for values in network(image)]
        twin = copy.deepcopy(network)
        for parameter in twin.parameters():
            parameter.zero_()
        for found, wanted in zip(network(image), before, strict=True):
            assert torch.equal(found, wanted)
        assert not any(values.any() for values in twin(image)[-1:])
