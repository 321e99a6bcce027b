"""Deformable convolutions against plain ones, against a slow reference, and in mixed precision."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, grid_sample

import backbones
from backbones.nets.layers import DeformableConv2d


def _randomise_offsets(convolution, scale):
    nn.init.normal_(convolution.conv_offset.weight, std=scale)
    nn.init.normal_(convolution.conv_offset.bias, std=scale)
    return convolution


def _reference(convolution, x):
    """The formula of the paper, tap by tap; bilinear interpolation is torch's ``grid_sample``."""
    predicted = convolution.conv_offset(x)
    height, width = predicted.shape[2:]
    rows = torch.arange(height)[:, None] * convolution.stride[0]
    columns = torch.arange(width)[None, :] * convolution.stride[1]
    total = 0.0
    for tap in range(9):
        dy, dx = predicted[:, 2 * tap], predicted[:, 2 * tap + 1]
        y = rows + (tap // 3 - 1) * convolution.dilation[0] + dy
        z = columns + (tap % 3 - 1) * convolution.dilation[1] + dx
        grid = torch.stack([(2 * z + 1) / x.shape[3] - 1, (2 * y + 1) / x.shape[2] - 1], dim=-1)
        values = grid_sample(x, grid, align_corners=False)
        if convolution.modulated:
            values = values * predicted[:, 18 + tap, None].sigmoid()
        total = total + conv2d(values, convolution.weight[:, :, tap // 3, tap % 3, None, None])
    return total


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 4)])
@torch.no_grad()
def test_dcn_formula(modulated, stride, dilation):
    convolution = DeformableConv2d(5, 7, stride=stride, dilation=dilation, modulated=modulated)
    _randomise_offsets(convolution, 0.3)
    x = torch.randn(2, 5, 11, 14)
    ours = convolution(x)
    assert ours.shape == (2, 7, -(-11 // stride), -(-14 // stride))
    torch.testing.assert_close(ours, _reference(convolution, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("spec", ["resnet18_b-w8", "resnet50_d-w8", "resnet50-w8"])
@torch.no_grad()
def test_dcnv1_starts_as_plain_conv(spec, output_stride, randomise_statistics, assert_agree):
    plain = randomise_statistics(backbones.create(spec, output_stride=output_stride))
    network = backbones.create(f"{spec}-dcn@1234", output_stride=output_stride).eval()
    keys = network.load_state_dict(plain.state_dict(), strict=False)
    assert keys.unexpected_keys == []
    assert keys.missing_keys
    assert all(".conv_offset." in name for name in keys.missing_keys)
    x = torch.randn(2, 3, 65, 71)
    assert_agree(network(x), plain(x))


@torch.no_grad()
def test_dcnv2_starts_as_half_plain_conv():
    convolution = DeformableConv2d(4, 6, stride=2, dilation=2, modulated=True)
    x = torch.randn(2, 4, 9, 9)
    plain = conv2d(x, convolution.weight, stride=2, padding=2, dilation=2)
    torch.testing.assert_close(convolution(x), 0.5 * plain)


@torch.no_grad()
def test_offsets_shift_sampling():
    convolution = DeformableConv2d(3, 4, modulated=False)
    convolution.conv_offset.bias[0::2] = 2.0
    convolution.conv_offset.bias[1::2] = -1.0
    x = torch.randn(1, 3, 12, 12)
    plain = conv2d(x, convolution.weight, padding=1)
    # Two rows further down and one column to the left, where both are inside of the image.
    torch.testing.assert_close(convolution(x)[:, :, 1:8, 3:9], plain[:, :, 3:10, 2:8])


@pytest.mark.parametrize(
    ("suffix", "stages"),
    [("-dcn", {2, 3, 4}), ("-dcnv2", {2, 3, 4}), ("-dcn@4", {4}), ("-dcnv2@13", {1, 3})],
)
@pytest.mark.parametrize(("base", "per_block"), [("resnet18-w8", 2), ("resnet50_d-w8", 1)])
def test_suffix_replaces_3x3_of_chosen_stages(base, per_block, suffix, stages):
    network = backbones.create(f"{base}{suffix}")
    for stage in (1, 2, 3, 4):
        layer = network.get_submodule(f"layer{stage}")
        found = [m for m in layer.modules() if isinstance(m, DeformableConv2d)]
        assert len(found) == (per_block * len(layer) if stage in stages else 0)
        assert all(m.modulated == ("v2" in suffix) for m in found)


@pytest.mark.parametrize("modulated", [False, True])
def test_float32_inside_autocast(modulated):
    convolution = DeformableConv2d(4, 6, modulated=modulated)
    _randomise_offsets(convolution, 1.0)
    x = torch.randn(2, 4, 9, 9).bfloat16()
    expected = convolution(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        output = convolution(x)
        assert torch.is_autocast_enabled("cpu")
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected.bfloat16())
    output.float().square().mean().backward()
    assert convolution.conv_offset.weight.grad.dtype == torch.float32
    assert convolution.conv_offset.weight.grad.any()


def test_bfloat16_channels_last_training():
    network = backbones.create("resnet10_d-w8-se-dcnv2", output_stride=8)
    network.to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(feature.float().square().mean() for feature in network(x))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@torch.no_grad()
def test_memory_format_is_irrelevant(assert_agree):
    network = backbones.create("resnet10-w8-dcnv2").eval()
    for module in network.modules():
        if isinstance(module, DeformableConv2d):
            _randomise_offsets(module, 0.1)
    x = torch.randn(2, 3, 64, 64)
    plain = network(x)
    network.to(memory_format=torch.channels_last)
    assert_agree(network(x.contiguous(memory_format=torch.channels_last)), plain)


@pytest.mark.parametrize(("suffix", "predicted"), [("-dcn", 18), ("-dcnv2", 27)])
def test_cost_includes_offsets(suffix, predicted):
    with torch.device("meta"):
        plain = backbones.create("resnet50_b")
        network = backbones.create(f"resnet50_b{suffix}")
    # Blocks, channels and locations of their 3×3 convolutions' output at 64 pixels.
    stages = [(4, 128, 8 * 8), (6, 256, 4 * 4), (3, 512, 2 * 2)]
    offsets = sum(blocks * 9 * width * predicted * locations for blocks, width, locations in stages)
    size = (64, 64)
    assert backbones.multiply_adds(network, size) == backbones.multiply_adds(plain, size) + offsets
    added = sum(blocks * predicted * (9 * width + 1) for blocks, width, _ in stages)
    assert backbones.count_parameters(network) == backbones.count_parameters(plain) + added
