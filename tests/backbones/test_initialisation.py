"""The weights that a network starts with."""

import math

import pytest
import torch
from torch import nn

import backbones
from contract.errors import UserError


def _convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_default_is_xavier_uniform():
    torch.manual_seed(0)
    network = backbones.create("resnet18_d")
    for convolution in _convolutions(network):
        area = math.prod(convolution.kernel_size)
        bound = math.sqrt(6 / (area * (convolution.in_channels + convolution.out_channels)))
        weight = convolution.weight.detach()
        assert weight.abs().max() <= bound
        # A uniform law on [-a, a] has the deviation a / √3, and its sample nearly reaches a.
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert weight.abs().max() > 0.95 * bound
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert torch.equal(norm.bias, torch.zeros_like(norm.bias))


def test_seed_decides_weights():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(backbones.create("resnet10-w8").conv1.weight)
    assert torch.equal(networks[0], networks[1])
    assert not torch.equal(networks[0], networks[2])


def test_kaiming_normal():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Linear(256, 512))
    backbones.initialise(network, "kaiming_normal")
    assert network[0].weight.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.05)
    # No ReLU follows the classifier: Xavier's, as without the trick.
    assert network[1].weight.std().item() == pytest.approx(math.sqrt(2 / (256 + 512)), rel=0.05)
    assert not network[0].bias.any()
    assert not network[1].bias.any()


@pytest.mark.parametrize(
    ("scheme", "public"),
    [
        ("xavier_uniform", nn.init.xavier_uniform_),
        ("kaiming_normal", lambda w: nn.init.kaiming_normal_(w, mode="fan_out")),
    ],
)
def test_schemes_match_torch(scheme, public):
    network = nn.Sequential(nn.Conv2d(7, 12, 5), nn.Conv2d(9, 4, 1))
    torch.manual_seed(1)
    backbones.initialise(network, scheme)
    torch.manual_seed(1)
    for layer in network:
        assert torch.equal(layer.weight, public(torch.empty_like(layer.weight)))


@pytest.mark.parametrize(
    ("scheme", "deviation"),
    [("xavier_uniform", math.sqrt(2 / (2 * 9 + 4 * 9))), ("kaiming_normal", math.sqrt(2 / 36))],
)
def test_grouped_conv(scheme, deviation):
    grouped = nn.Conv2d(2 * 100, 4 * 100, 3, groups=100)
    backbones.initialise(grouped, scheme)
    assert grouped.weight.std().item() == pytest.approx(deviation, rel=0.05)


def test_depthwise_conv_keeps_scale():
    # Counting all channels as outputs would divide the deviation by 16.
    network = backbones.create("mobilenet_v1")
    depthwise = network.blocks[3][3].conv_dw
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / (9 + 9)), rel=0.05)


@pytest.mark.parametrize("scheme", ["xavier_uniform", "kaiming_normal"])
def test_dcn_offsets_stay_zero(scheme):
    network = backbones.create("resnet10_d-w8-dcnv2")
    convolution = network.layer4[0].conv2
    nn.init.ones_(convolution.conv_offset.weight)
    nn.init.ones_(convolution.conv_offset.bias)
    drawn = convolution.weight.clone()
    backbones.initialise(network, scheme)
    assert not convolution.conv_offset.weight.any()
    assert not convolution.conv_offset.bias.any()
    assert not torch.equal(convolution.weight, drawn)


def test_unknown_scheme():
    with pytest.raises(UserError, match=r"unknown initialisation 'xavier'; did you mean 'xavier_"):
        backbones.initialise(nn.Conv2d(1, 1, 1), "xavier")


@pytest.mark.parametrize(
    ("spec", "blocks", "last"), [("resnet18-w8", 8, 2), ("resnet50-w8", 16, 3)]
)
def test_zero_gamma_in_last_norm_of_each_block(spec, blocks, last):
    network = backbones.create(spec)
    assert backbones.zero_gamma(network) == blocks
    zeroed = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and not module.weight.any()
    }
    assert len(zeroed) == blocks
    assert all(name.endswith(f".bn{last}") for name in zeroed)


def test_zero_gamma_makes_identity_blocks():
    network = backbones.create("resnet18_d-w8").eval()
    backbones.zero_gamma(network)
    x = torch.randn(2, 8, 16, 16).relu()
    assert torch.equal(network.layer1(x), x)


def test_zero_gamma_with_squeeze_and_excitation():
    network = backbones.create("resnet18_d-w8-se").eval()
    backbones.zero_gamma(network)
    x = torch.randn(2, 8, 16, 16).relu()
    assert torch.equal(network.layer1(x), x)


@pytest.mark.parametrize("spec", ["inception_v3-x0.1", "mobilenet_v1-x0.25"])
def test_zero_gamma_without_residual_blocks(spec):
    network = backbones.create(spec)
    assert backbones.zero_gamma(network) == 0
    assert all(m.weight.all() for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_zero_gamma_reports_no_effect():
    assert backbones.zero_gamma(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))) == 0
