"""timm's networks."""

import math

import pytest
import timm
import torch

import backbones


def _plain(network):
    return {name.removeprefix("trunk."): value for name, value in network.state_dict().items()}


def _in_order(reference, network):
    """The tensors of a features-only network, which renames `stages.0` to `stages_0`."""
    ours = {name.replace(".", "_"): value for name, value in _plain(network).items()}
    return [ours[name.replace(".", "_")] for name in reference.state_dict()]


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv3_small_050", "tf_efficientnet_lite0", "convnext_atto"]
)
def test_maps_match_timm(name):
    network = backbones.create(f"timm:{name}").eval()
    classifier = timm.create_model(name, num_classes=0)
    left_over = classifier.load_state_dict(_plain(network), strict=False)
    assert not left_over.unexpected_keys
    reference = timm.create_model(name, features_only=True)
    reference.load_state_dict(
        {k: v for k, v in zip(reference.state_dict(), _in_order(reference, network), strict=True)}
    )
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found, wanted = network(image), reference.eval()(image)[-4:]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    declared = [(f.channels, f.stride) for f in network.feature_info]
    info = reference.feature_info
    assert declared == list(zip(info.channels()[-4:], info.reduction()[-4:], strict=True))


def test_window_sizes():
    network = backbones.create("timm:maxvit_pico_rw_256").eval()
    assert network.image_multiple == 256
    reference = timm.create_model("maxvit_pico_rw_256", num_classes=0).eval()
    left_over = reference.load_state_dict(_plain(network), strict=False)
    assert not left_over.unexpected_keys
    assert not any(key.startswith(("stem", "stages")) for key in left_over.missing_keys)
    padded = torch.zeros(1, 3, 256, 512)
    padded[..., :75, :290] = image = torch.rand(1, 3, 75, 290)
    with torch.no_grad():
        found = network(image)
        wanted = reference.forward_intermediates(padded, intermediates_only=True)[-4:]
    for feature, ours, theirs in zip(network.feature_info, found, wanted, strict=True):
        shape = [math.ceil(side / feature.stride) for side in image.shape[2:]]
        assert ours.shape == (1, feature.channels, *shape)
        torch.testing.assert_close(ours, theirs[..., : shape[0], : shape[1]])
