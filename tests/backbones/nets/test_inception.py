"""Inception-V3 against torchvision's and against published figures."""

import pytest
import torch
import torchvision
from torch import nn

import backbones
from backbones.nets.layers import DilatedAveragePool
from contract.errors import UserError

FEATURES = ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")


def _torchvisions(**options):
    return torchvision.models.Inception3(init_weights=False, transform_input=False, **options)


def _without_classifiers(network):
    heads = ("fc.", "AuxLogits.")
    return {k: v for k, v in network.state_dict().items() if not k.startswith(heads)}


@torch.no_grad()
def test_valid_padding_matches_torchvision(randomise_statistics):
    reference = randomise_statistics(_torchvisions(aux_logits=False))
    network = backbones.create("inception_v3-valid").eval()
    network.load_state_dict(_without_classifiers(reference), strict=True)
    theirs = []
    for name in FEATURES:
        reference.get_submodule(name).register_forward_hook(lambda _m, _i, y: theirs.append(y))
    x = torch.randn(2, 3, 107, 123)
    reference(x)
    ours = network(x)
    assert [f.name for f in network.feature_info] == list(FEATURES)
    for feature, our, their in zip(network.feature_info, ours, theirs, strict=True):
        assert torch.equal(our, their)
        assert our.shape[1] == feature.channels


def test_valid_padding_map_sizes():
    with torch.device("meta"):
        network = backbones.create("inception_v3-valid").eval()
        maps = network(torch.empty(1, 3, network.input_size, network.input_size))
    # Table 1 of the paper.
    assert [y.shape[1:] for y in maps] == [
        (192, 71, 71),
        (288, 35, 35),
        (768, 17, 17),
        (2048, 8, 8),
    ]


@torch.no_grad()
def test_padding_changes_only_the_border(randomise_statistics):
    network = randomise_statistics(backbones.create("inception_v3-x0.25"))
    valid = backbones.create("inception_v3-valid-x0.25").eval()
    valid.load_state_dict(network.state_dict(), strict=True)
    image = torch.randn(1, 3, 128, 128)
    # Location i of the first map is centred on the pixel 4i where all is padded. Unpadded, 1a moves
    # that by 1 pixel, 2a by 2, the pool by 2 and 4a by 4. Both see the same away from the border.
    padded = network(image[:, :, 9:, 9:])[0][:, :, 5:20, 5:20]
    unpadded = valid(image)[0][:, :, 5:20, 5:20]
    torch.testing.assert_close(padded, unpadded, rtol=1e-4, atol=1e-5)


def test_size_and_cost_match_publication():
    with torch.device("meta"):
        reference, network = _torchvisions(), backbones.create("inception_v3")
        valid = backbones.create("inception_v3-valid")
    classifier, auxiliary = 2048 * 1000 + 1000, backbones.count_parameters(reference.AuxLogits)
    assert backbones.count_parameters(network) + classifier == 23_834_568
    assert backbones.count_parameters(reference) == 23_834_568 + auxiliary == 27_161_264
    # torchvision publishes 5.713 G with the classifier; padding convolves more locations.
    cost = backbones.multiply_adds(valid, (299, 299)) + 2048 * 1000
    assert cost / 1e9 == pytest.approx(5.713, abs=5e-4)
    assert backbones.multiply_adds(network, (299, 299)) > cost


def test_tensors_match_torchvision():
    with torch.device("meta"):
        theirs = _without_classifiers(_torchvisions())
        ours = backbones.create("inception_v3", output_stride=8).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    epsilons = {m.eps for m in backbones.create("inception_v3-x0.1").modules() if _is_norm(m)}
    assert epsilons == {1e-3}


def _is_norm(module):
    return isinstance(module, nn.BatchNorm2d)


def test_width_factor_has_minimum_8():
    with torch.device("meta"):
        full, narrow = backbones.create("inception_v3"), backbones.create("inception_v3-x0.25")
        least = backbones.create("inception_v3-x0.1")
    for (name, large), small in zip(
        full.named_modules(), (m for _, m in narrow.named_modules()), strict=True
    ):
        if isinstance(large, nn.Conv2d):
            assert small.out_channels == large.out_channels // 4, name
    assert least.Conv2d_1a_3x3.conv.out_channels == 8


@pytest.mark.parametrize("output_stride", [16, 8])
def test_valid_padding_cannot_be_dilated(output_stride):
    with pytest.raises(UserError) as error:
        backbones.create("inception_v3-valid", output_stride=output_stride)
    assert str(error.value) == (
        f"output stride {output_stride} of Inception is built with padding only; "
        "leave out the suffix -valid, or take the output stride 32"
    )


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_dilated_average_pool(dilation):
    x = torch.randn(2, 3, 9, 11)
    pooled = DilatedAveragePool(dilation)(x)
    assert pooled.shape == x.shape
    # Locations `dilation` apart form images of their own, each pooled by torch's pool.
    for row in range(dilation):
        for column in range(dilation):
            part = x[:, :, row::dilation, column::dilation]
            expected = nn.functional.avg_pool2d(part, 3, stride=1, padding=1)
            torch.testing.assert_close(pooled[:, :, row::dilation, column::dilation], expected)
