"""Names, declared features, freezing, and what a wrong spec is told."""

import math

import pytest
import torch
from torch import nn

import backbones
from backbones import UserError, did_you_mean, unknown

HEIGHT, WIDTH = 65, 97


def test_names_are_depth_times_tweak():
    assert len(backbones.names()) == len(set(backbones.names())) == 6 * 4
    assert {"resnet10", "resnet50_b", "resnet152_d"} <= set(backbones.names())


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("name", backbones.names())
def test_declared_features_are_the_real_ones(name, output_stride):
    with torch.device("meta"):
        network = backbones.create(name, output_stride=output_stride).eval()
        maps = network(torch.empty(2, 3, HEIGHT, WIDTH))
    assert [f.name for f in network.feature_info] == ["layer1", "layer2", "layer3", "layer4"]
    assert [f.stride for f in network.feature_info] == [
        min(stride, output_stride) for stride in (4, 8, 16, 32)
    ]
    for feature, output in zip(network.feature_info, maps, strict=True):
        size = math.ceil(HEIGHT / feature.stride), math.ceil(WIDTH / feature.stride)
        assert output.shape == (2, feature.channels, *size)


@pytest.mark.parametrize("name", ["resnet10_c-w16", "resnet50_d-w8"])
def test_width_suffix_scales_every_layer(name):
    base, width = name.split("-w")
    narrow, full = backbones.create(name), backbones.create(base)
    ratio = 64 // int(width)
    for (key, small), large in zip(
        narrow.state_dict().items(), full.state_dict().values(), strict=True
    ):
        images = key in ("conv1.weight", "conv1.0.weight")
        expected = [
            size if axis >= 2 or (axis == 1 and images) else size // ratio
            for axis, size in enumerate(large.shape)
        ]
        assert list(small.shape) == expected, key
    assert [f.channels * ratio for f in narrow.feature_info] == [
        f.channels for f in full.feature_info
    ]


def test_in_channels():
    network = backbones.create("resnet10_d-w8", in_channels=1).eval()
    assert network(torch.randn(1, 1, 64, 64))[-1].shape == (1, 64, 2, 2)


def test_every_parameter_gets_a_gradient():
    network = backbones.create("resnet50_d-w8", output_stride=16)
    sum(feature.square().mean() for feature in network(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet19_d", "unknown backbone 'resnet19_d'; did you mean 'resnet1"),
        ("ResNet50_D", "did you mean 'resnet50_d'"),
        ("resnet50d", "did you mean 'resnet50_d'"),
        ("resnet-50", "did you mean 'resnet50'"),
        ("", "unknown backbone ''; known: resnet10, resnet10_b"),
        ("vgg16", "unknown backbone 'vgg16'; known: resnet10, resnet10_b"),
        ("resnet50-q3", "backbone 'resnet50-q3': unknown suffix '-q3'; known: -wN (base width N"),
        ("resnet50-", "unknown suffix '-'"),
        ("resnet50-w", "unknown suffix '-w'"),
        ("resnet50-w12", "'-w12' is out of range; expected a multiple of 8 from 8 to 512"),
        ("resnet50-w0", "'-w0' is out of range"),
        ("resnet50-w1024", "'-w1024' is out of range"),
        ("resnet50-w8-w16", "has the suffix -wN twice; give it once"),
    ],
)
def test_wrong_spec(spec, message):
    with pytest.raises(UserError) as error:
        backbones.create(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("output_stride", [4, 0, 64, -8])
def test_wrong_output_stride(output_stride):
    with pytest.raises(
        UserError, match=rf"output stride {output_stride} is not built; .* one of 32, 16, 8"
    ):
        backbones.create("resnet10", output_stride=output_stride)


def test_wrong_in_channels():
    with pytest.raises(UserError, match="in_channels is 0; expected at least 1"):
        backbones.create("resnet10", in_channels=0)


def test_signature_is_closed():
    with pytest.raises(TypeError):
        backbones.create("resnet10", pretrained=True)


def test_did_you_mean():
    assert did_you_mean("mixpu", ["mixup", "cosine"]) == "did you mean 'mixup'?"
    assert did_you_mean("abcd", ["abce", "abcf"]) in (
        "did you mean 'abce' or 'abcf'?",
        "did you mean 'abcf' or 'abce'?",
    )
    assert did_you_mean("zzz", ["mixup"]) == ""


def test_long_lists_of_candidates_are_cut():
    message = str(unknown("thing", "zzz", [f"name{i}" for i in range(100)]))
    assert message.startswith("unknown thing 'zzz'; known: name0, name1,")
    assert message.endswith("name39, … (60 more)")


@pytest.mark.parametrize("spec", ["resnet10-w8", "resnet50_d-w8"])
def test_stages_hold_every_tensor_once(spec):
    network = backbones.create(spec)
    held = [
        tensor
        for group in network.stages()
        for module in group
        for tensor in (*module.parameters(), *module.buffers())
    ]
    everything = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    assert len(held) == len(everything)
    assert {id(tensor) for tensor in held} == everything
    assert len(network.stages()) == 1 + len(network.feature_info)


@pytest.mark.parametrize("stages", [-1, 0, 1, 4])
def test_freeze(stages):
    network = backbones.create("resnet10_d-w8")
    frozen = network.freeze(stages)
    assert all(isinstance(module, nn.Module) for module in frozen)
    prefixes = ["conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4."]
    expected = tuple(prefixes[: 2 + stages]) if stages >= 0 else ()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (not name.startswith(expected)), name


@pytest.mark.parametrize("stages", [-2, 5])
def test_freeze_out_of_range(stages):
    with pytest.raises(UserError, match=rf"frozen stages {stages} is out of range; .* 1 to 4"):
        backbones.create("resnet10_d-w8").freeze(stages)
