"""Smaller output strides: the same maps on the common grid, or a reason."""

import copy
import math

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

import backbones
from backbones import OutputStrideError
from backbones.foreign.dilation import dilate


@pytest.mark.parametrize(
    ("spec", "output_stride"),
    [
        ("timm:resnet18", 8),
        # timm's own dilated form forgets a convolution.
        ("timm:gernet_s", 16),
        # It is right at 16 and wrong at 8.
        ("timm:convnext_atto", 16),
        ("timm:convnext_atto", 8),
        # Its padding goes by the size of the input and the stride.
        ("timm:tf_efficientnet_lite0", 16),
        ("timm:tf_efficientnet_lite0", 8),
        # It has none.
        ("timm:mobilenetv4_conv_small_050", 8),
        ("torchvision:mobilenet_v2", 16),
        ("torchvision:mobilenet_v2", 8),
        ("own_networks:Maps", 8),
        ("own_networks:Classifier", 16),
        ("own_networks:Classifier", 8),
        ("own_networks:Averaging", 16),
    ],
)
def test_dilated_maps_match_on_common_grid(spec, output_stride):
    plain = backbones.create(spec).eval()
    dilated = backbones.create(spec, output_stride=output_stride).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            # Zeros, such as the last scale of a residual branch, would hide what they multiply.
            parameter.add_((parameter == parameter.flatten()[0]) * torch.rand_like(parameter))
    dilated.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 128, 96)
    with torch.no_grad():
        pairs = zip(dilated(image), plain(image), strict=True)
        for feature, (found, wanted) in zip(dilated.feature_info, pairs, strict=True):
            step = found.shape[-1] // wanted.shape[-1]
            assert feature.stride == 128 // found.shape[-2] <= output_stride
            torch.testing.assert_close(
                found[..., ::step, ::step], wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())
            )


@pytest.mark.parametrize("size", [(64, 96), (61, 47), (58, 33)])
def test_dynamic_padding(size):
    layers = [Conv2dSame(3, 4, 3, stride=2), Conv2dSame(4, 5, 5, stride=2)]
    layers += [Conv2dSame(5, 6, 3, stride=2, dilation=2, bias=False), nn.Conv2d(6, 7, 3, padding=1)]
    plain = nn.Sequential(*layers)
    dilated = copy.deepcopy(plain)
    dilate("four", dilated, 4)
    assert dilated.state_dict().keys() == plain.state_dict().keys()
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        wanted, found = plain(image), dilated(image)
    assert found.shape[-2:] == (math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    torch.testing.assert_close(found[..., ::2, ::2], wanted)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:swin_s3_tiny_224", "its maps are at 4, 8, 16, 32"),
        ("torchvision:densenet121", "AvgPool2d"),
        ("own_networks:Averaging", "AvgPool2d"),
        # A user's `Backbone` without output strides must not pass for one with them.
        ("own_networks:plain_backbone", "its maps are at 4, 8, 16, 32"),
    ],
)
def test_undilatable_networks_are_refused(spec, message):
    with pytest.raises(OutputStrideError, match=message):
        backbones.create(spec, output_stride=8)
