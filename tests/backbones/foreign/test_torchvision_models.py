"""torchvision's networks."""

import torch
import torchvision

import backbones


def _plain(network):
    return {name.removeprefix("trunk."): value for name, value in network.state_dict().items()}


def test_maps_match_torchvision():
    network = backbones.create("torchvision:resnet18").eval()
    reference = torchvision.models.resnet18().eval()
    left_over = reference.load_state_dict(_plain(network), strict=False)
    assert left_over.missing_keys == ["fc.weight", "fc.bias"]
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(image))))
        for number, values in enumerate(network(image), start=1):
            x = reference.get_submodule(f"layer{number}")(x)
            torch.testing.assert_close(values, x)
    assert [f.name for f in network.feature_info] == ["layer1", "layer2", "layer3", "layer4"]
