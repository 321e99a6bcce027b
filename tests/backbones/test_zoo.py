"""Names, declared features, freezing, and the errors for a wrong spec."""

import math
import re

import pytest
import torch
from torch import nn

import backbones
from contract.errors import UserError, did_you_mean, unknown

HEIGHT, WIDTH = 65, 97
FEATURES = {
    "resnet": ["layer1", "layer2", "layer3", "layer4"],
    "inception": ["Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"],
    "mobilenet": ["blocks.1", "blocks.2", "blocks.3", "blocks.4"],
}


DEPTHS, TWEAKS = (10, 14, 18, 26, 34, 50, 101, 152), ("", "_b", "_c", "_d")
RESNETS = [f"resnet{depth}{tweak}" for depth in DEPTHS for tweak in TWEAKS]
# One spec of each family, small enough to train.
SMALL = ["resnet10_d-w8-se-dcnv2", "inception_v3-x0.1", "mobilenet_v1-x0.25"]


def test_names():
    assert backbones.names() == [*RESNETS, "inception_v3", "mobilenet_v1"]


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("name", [*backbones.names(), "resnet50_d-se-dcnv2", *SMALL])
def test_declared_features_match_outputs(name, output_stride):
    with torch.device("meta"):
        network = backbones.create(name, output_stride=output_stride).eval()
        maps = network(torch.empty(2, 3, HEIGHT, WIDTH))
    (family,) = re.findall("^[a-z]+", name)
    assert [f.name for f in network.feature_info] == FEATURES[family]
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


@pytest.mark.parametrize("spec", SMALL)
def test_in_channels(spec):
    network = backbones.create(spec, in_channels=1).eval()
    assert network(torch.randn(1, 1, 64, 64))[-1].shape[2:] == (2, 2)


@pytest.mark.parametrize("spec", SMALL)
def test_output_stride_keeps_tensors(spec):
    full = backbones.create(spec).state_dict()
    for output_stride in (16, 8):
        dilated = backbones.create(spec, output_stride=output_stride).state_dict()
        assert {k: v.shape for k, v in dilated.items()} == {k: v.shape for k, v in full.items()}


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("spec", ["resnet18-w8", "resnet26-w8", "resnet50_b-w8-se", *SMALL[1:]])
@torch.no_grad()
def test_dilation_matches_at_old_locations(spec, output_stride, randomise_statistics, assert_agree):
    # Every second (or fourth) location of the dense map sees what it saw in the coarse one.
    full = randomise_statistics(backbones.create(spec))
    dilated = backbones.create(spec, output_stride=output_stride).eval()
    dilated.load_state_dict(full.state_dict(), strict=True)
    x = torch.randn(2, 3, 65, 97)
    strides = [feature.stride for feature in dilated.feature_info]
    steps = [old // new for old, new in zip((4, 8, 16, 32), strides, strict=True)]
    assert steps[-1] == 32 // output_stride
    if "-se" in spec:
        _forget_the_mean(full, dilated)
    coarse = [y[:, :, ::step, ::step] for step, y in zip(steps, dilated(x), strict=True)]
    assert_agree(coarse, full(x))


def _forget_the_mean(*networks):
    """A gate sees the mean of all locations, which differ; make it depend on its bias alone."""
    for network in networks:
        for name, parameter in network.named_parameters():
            if "se.fc1" in name:
                parameter.zero_()


@pytest.mark.parametrize("spec", ["resnet50_d-w8", *SMALL])
def test_every_parameter_gets_a_gradient(spec):
    network = backbones.create(spec, output_stride=16)
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
        ("resnet50-dcn-dcnv2", "has both suffixes -dcn[@STAGES] and -dcnv2[@STAGES]; give one of"),
        (
            "resnet50-dcn@",
            "suffix '-dcn@' has the stages ''; expected one or more of 1, 2, 3 and 4",
        ),
        (
            "resnet50-dcnv2@45",
            "has the stages '45'; expected one or more of 1, 2, 3 and 4, in this",
        ),
        ("resnet50-dcn@33", "has the stages '33'; expected"),
        ("resnet50-dcn@42", "in this order, as in -dcn@34"),
        ("resnet50-dcnv3", "unknown suffix '-dcnv3'; "),
        (
            "resnet50-x0.5",
            "the suffix -xF is for Inception, MobileNet; ResNet takes -wN, -se, -dcn",
        ),
        ("mobilenet_v1-se", "the suffix -se is for ResNet; MobileNet takes -xF"),
        ("mobilenet_v1-valid", "the suffix -valid is for Inception; MobileNet takes -xF"),
        ("inception_v3-w32", "the suffix -wN is for ResNet; Inception takes -xF, -valid"),
        ("inception_v3-x0", "'-x0' is out of range; expected a factor from 0.1 to 4"),
        ("mobilenet_v1-x4.5", "'-x4.5' is out of range; expected a factor from 0.1 to 4"),
        ("mobilenet_v1-x.5", "unknown suffix '-x.5'"),
        ("mobilenet_v2", "unknown backbone 'mobilenet_v2'; did you mean 'mobilenet_v1'?"),
        ("inceptionv3", "did you mean 'inception_v3'?"),
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


def test_long_candidate_lists_are_cut():
    message = str(unknown("thing", "zzz", [f"name{i}" for i in range(100)]))
    assert message.startswith("unknown thing 'zzz'; known: name0, name1,")
    assert message.endswith("name39, … (60 more)")


def test_input_size():
    sizes = {
        name: backbones.create(name).input_size
        for name in ("resnet10", "inception_v3", "mobilenet_v1")
    }
    assert sizes == {"resnet10": 224, "inception_v3": 299, "mobilenet_v1": 224}


@pytest.mark.parametrize(
    "spec", ["resnet10-w8", "resnet50_d-w8", "inception_v3-valid-x0.1", *SMALL]
)
def test_stages_partition_tensors(spec):
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


@pytest.mark.parametrize("spec", SMALL[1:])
def test_freeze_boundaries(spec):
    network = backbones.create(spec)
    network.freeze(2)
    maps = network(torch.randn(2, 3, 64, 64))
    assert [feature.requires_grad for feature in maps] == [False, False, True, True]


@pytest.mark.parametrize("stages", [-2, 5])
def test_freeze_out_of_range(stages):
    with pytest.raises(UserError, match=rf"frozen stages {stages} is out of range; .* 1 to 4"):
        backbones.create("resnet10_d-w8").freeze(stages)
