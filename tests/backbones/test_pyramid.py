"""Plain vision transformers: their single map, and the pyramid built on it."""

import copy
import math

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

import backbones
from backbones import Feature, SimpleFeaturePyramid, dense_features
from backbones.__main__ import main


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "xcit_nano_12_p16_224"])
def test_base_map_matches_timm_after_last_norm(name):
    network = backbones.create(f"timm:{name}").eval()
    weights = {key.removeprefix("trunk."): value for key, value in network.state_dict().items()}
    reference = timm.create_model(name, num_classes=0).eval()
    reference.load_state_dict({**reference.state_dict(), **weights})
    image = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        (found,) = network(image)
        if hasattr(reference, "cls_attn_blocks"):
            reference.cls_attn_blocks = nn.ModuleList()
        tokens = reference.forward_features(image)[:, 1:]
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), tokens, rtol=1e-4, atol=1e-4)
    assert network.feature_info == [Feature("blocks.11", found.shape[1], 16)]


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize(
    ("name", "stride"), [("vit_tiny_patch16_224", 16), ("eva02_tiny_patch14_224", 14)]
)
def test_output_stride_keeps_network(name, stride, output_stride):
    torch.manual_seed(3)
    plain = backbones.create(f"timm:{name}").eval()
    torch.manual_seed(3)
    other = backbones.create(f"timm:{name}", output_stride=output_stride).eval()
    image = torch.rand(1, 3, 75, 100)
    with torch.no_grad():
        (wanted,), (found,) = plain(image), other(image)
    assert torch.equal(found, wanted)
    assert found.shape[-2:] == (math.ceil(75 / stride), math.ceil(100 / stride))


def test_stages_are_blocks():
    network = backbones.create("timm:vit_tiny_patch16_224")
    groups = network.stages()
    assert len(groups) == 1 + 12
    held = [
        id(p)
        for group in groups
        for module in group
        for p in (*module.parameters(), *module.buffers())
    ]
    assert sorted(held) == sorted(id(p) for p in (*network.parameters(), *network.buffers()))
    network.freeze(2)
    frozen = {
        ".".join(name.split(".")[1 : 3 if ".blocks." in name else 2])
        for name, p in network.named_parameters()
        if not p.requires_grad
    }
    assert frozen == {"cls_token", "pos_embed", "patch_embed", "blocks.0", "blocks.1"}


def test_multiply_adds_match_formula():
    # Width D, N = 14² + 1 tokens: a block has 12·D² a token for its matrices, 2·N·D for its attention.
    width, tokens = 192, 14 * 14 + 1
    block = tokens * (12 * width**2 + 2 * tokens * width)
    patches = 14 * 14 * 3 * 16 * 16 * width
    network = backbones.create("timm:vit_tiny_patch16_224")
    assert backbones.multiply_adds(network, (224, 224)) == 12 * block + patches


def _levels(channels=16, stride=16, output_stride=32):
    class One:
        plain = True
        feature_info = (Feature("map", channels, stride),)

    return One.feature_info[0], dense_features(One(), output_stride)


@pytest.mark.parametrize(
    ("output_stride", "wanted"),
    [
        (32, [(4, 4), (8, 8), (16, 16), (16, 32)]),
        (16, [(4, 4), (8, 8), (16, 16), (16, 16)]),
        (8, [(4, 4), (8, 8), (8, 8), (8, 8)]),
    ],
)
def test_level_sizes_and_strides(output_stride, wanted):
    source, levels = _levels(output_stride=output_stride)
    assert [(f.channels, f.stride) for f in levels] == wanted
    pyramid = SimpleFeaturePyramid(source, levels)
    found = pyramid(torch.rand(2, 16, 5, 7), (75, 100))
    for feature, values in zip(levels, found, strict=True):
        sides = (math.ceil(75 / feature.stride), math.ceil(100 / feature.stride))
        assert values.shape == (2, feature.channels, *sides)


def test_levels_match_paper():
    source, levels = _levels()
    pyramid = SimpleFeaturePyramid(source, levels)
    x = torch.rand(1, 16, 6, 8)
    found = pyramid(x, (96, 128))
    first, norm, _, second = pyramid.layers["4"]
    up = functional.conv_transpose2d(x, first.weight, first.bias, stride=2)
    mean = up.mean(1, keepdim=True)
    deviation = ((up - mean).square().mean(1, keepdim=True) + 1e-6).sqrt()
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    up = functional.gelu((up - mean) / deviation * scale + shift)
    finest = functional.conv_transpose2d(up, second.weight, second.bias, stride=2)
    torch.testing.assert_close(found[0], finest)
    (only,) = pyramid.layers["8"]
    torch.testing.assert_close(
        found[1], functional.conv_transpose2d(x, only.weight, only.bias, stride=2)
    )
    assert torch.equal(found[2], x)
    pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    assert torch.equal(found[3], pooled)


def test_builds_only_needed_layers():
    source, levels = _levels()
    assert not list(SimpleFeaturePyramid(source, levels[2:]).parameters())
    source, levels = _levels(output_stride=8)
    pyramid = SimpleFeaturePyramid(source, levels[2:])
    assert len(list(pyramid.parameters())) == 2
    sum(values.sum() for values in pyramid(torch.rand(1, 16, 4, 4), (64, 64))).backward()
    assert all(p.grad is not None for p in pyramid.parameters())


@pytest.mark.parametrize("stride", [7, 8, 14, 32])
def test_interpolation_keeps_locations(stride):
    source, levels = _levels(channels=2, stride=stride, output_stride=16)
    height, width = 99, 161
    rows, columns = (math.ceil(side / stride) for side in (height, width))
    # Each location holds where its centre is in the image, which interpolation of straight lines keeps.
    y = (torch.arange(rows) + 0.5) * stride
    x = (torch.arange(columns) + 0.5) * stride
    centres = torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]
    found = SimpleFeaturePyramid(source, levels[2:3])(centres, (height, width))[0][0]
    assert found.shape[1:] == (math.ceil(height / 16), math.ceil(width / 16))
    inner = found[:, 1:-2, 1:-2]
    wanted = torch.stack(
        torch.meshgrid(*((torch.arange(n) + 0.5) * 16 for n in found.shape[1:]), indexing="ij")
    )
    torch.testing.assert_close(inner, wanted[:, 1:-2, 1:-2], rtol=0, atol=1e-3)


def test_patch_14_with_registers_trains():
    network = backbones.create("timm:vit_small_patch14_reg4_dinov2")
    assert network.feature_info == [Feature("blocks.11", 384, 14)]
    network(torch.rand(2, 3, 50, 64))[0].square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_copy_has_own_weights():
    source, levels = _levels()
    pyramid = SimpleFeaturePyramid(source, levels)
    twin = copy.deepcopy(pyramid)
    x = torch.rand(1, 16, 4, 4)
    before = pyramid(x, (64, 64))[0]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(pyramid(x, (64, 64))[0], before)


def test_describe_includes_pyramid(capsys):
    assert main(["describe", "timm:vit_tiny_patch16_224", "--output-stride", "8"]) == 0
    text = capsys.readouterr().out
    assert "blocks.11       192      16\n" in text
    assert "blocks.11@4       48       4\n" in text
    assert "blocks.11@8       96       8\n" in text
