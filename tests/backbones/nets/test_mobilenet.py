"""MobileNet-V1 against timm's and against the paper's figures."""

import pytest
import timm
import torch

import backbones

# MobileNets, Tables 6 and 7: millions of multiply-adds and of parameters, at 224 and 128 pixels.
TABLE_6 = {"": (569, 4.2), "-x0.75": (325, 2.6), "-x0.5": (149, 1.3), "-x0.25": (41, 0.5)}
TABLE_7_AT_128 = 186


def _classifier(network):
    channels = network.feature_info[-1].channels
    return channels * 1000, channels * 1000 + 1000


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@torch.no_grad()
def test_agrees_with_timm(output_stride, randomise_statistics, assert_agree):
    reference = randomise_statistics(
        timm.create_model("mobilenetv1_100", features_only=True, output_stride=output_stride)
    )
    network = backbones.create("mobilenet_v1", output_stride=output_stride).eval()
    network.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(2, 3, 65, 97)
    # timm's first map is that of stride 2.
    assert_agree(network(x), reference(x)[1:])


def test_tensors_match_timm():
    with torch.device("meta"):
        theirs = timm.create_model("mobilenetv1_100").state_dict()
        ours = backbones.create("mobilenet_v1").state_dict()
    heads = ("classifier.",)
    expected = {k: v.shape for k, v in theirs.items() if not k.startswith(heads)}
    assert {k: v.shape for k, v in ours.items()} == expected


@pytest.mark.parametrize("suffix", TABLE_6)
def test_size_and_cost_agree_with_table_6(suffix):
    with torch.device("meta"):
        network = backbones.create(f"mobilenet_v1{suffix}")
    multiply_adds, parameters = _classifier(network)
    cost = backbones.multiply_adds(network, (224, 224)) + multiply_adds
    published_cost, published_parameters = TABLE_6[suffix]
    # The paper cuts 325.4 and rounds 568.7.
    assert cost / 1e6 == pytest.approx(published_cost, abs=0.5)
    size = (backbones.count_parameters(network) + parameters) / 1e6
    assert size == pytest.approx(published_parameters, abs=0.05)


def test_cost_agrees_with_table_7_and_size_with_timm():
    with torch.device("meta"):
        network, reference = backbones.create("mobilenet_v1"), timm.create_model("mobilenetv1_100")
    multiply_adds, parameters = _classifier(network)
    cost = backbones.multiply_adds(network, (128, 128)) + multiply_adds
    assert cost / 1e6 == pytest.approx(TABLE_7_AT_128, abs=0.5)
    size = backbones.count_parameters(network) + parameters
    assert size == backbones.count_parameters(reference) == 4_231_976


def test_width_factor_has_minimum_8():
    with torch.device("meta"):
        network = backbones.create("mobilenet_v1-x0.1")
    assert network.conv_stem.out_channels == 8
    assert [f.channels for f in network.feature_info] == [12, 25, 51, 102]
