"""Checkpoints under OpenMMLab's names; its own classes are the oracle where they are installed."""

from dataclasses import replace

import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones import ResNet, ResNetV1d
from mmseg.models.backbones import ResNetV1c
from support.checkpoints import write_classifier
from torch import nn

from backbones import CheckpointMetadata
from export.weights.counterparts import find
from export.weights.write import export_weights

METADATA = CheckpointMetadata(
    "", "standard", (), None, (120.0, 120.0, 120.0), (58.0, 58.0, 58.0), "RGB", 0, "raw"
)


def random_checkpoint(spec, path):
    return write_classifier(path, replace(METADATA, spec=spec), classes=3, seed=4)


@pytest.mark.parametrize(
    "spec, theirs",
    [
        ("resnet18", lambda: ResNet(depth=18)),
        ("resnet50-w16", lambda: ResNet(50, stem_channels=16, base_channels=16, style="caffe")),
        ("resnet50_b-w16", lambda: ResNet(50, stem_channels=16, base_channels=16)),
        ("resnet50_c-w16", lambda: ResNetV1c(depth=50, stem_channels=16, base_channels=16)),
        ("resnet50_d-w16", lambda: ResNetV1d(depth=50, stem_channels=16, base_channels=16)),
    ],
)
def test_maps_match_mmdet_and_mmseg(tmp_path, spec, theirs):
    network, _ = random_checkpoint(spec, tmp_path / "backbone.safetensors")
    export_weights(tmp_path / "backbone.safetensors", "mmdet", tmp_path / "out.pth")
    theirs = theirs()
    state = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    theirs.load_state_dict(state, strict=True)
    theirs.eval()
    images = torch.rand(1, 3, 65, 90)
    with torch.no_grad():
        for other, ours in zip(theirs(images), network(images), strict=True):
            torch.testing.assert_close(other, ours, rtol=1e-5, atol=1e-5)


def test_mmpretrain_deep_stem(tmp_path):
    network, head = random_checkpoint("resnet50_d-w16", tmp_path / "backbone.safetensors")
    report = export_weights(tmp_path / "backbone.safetensors", "mmpretrain", tmp_path / "out.pth")
    assert report.errors == {} and report.head == "head.fc"
    state = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert torch.equal(state.pop("head.fc.weight"), head.weight)
    assert torch.equal(state.pop("head.fc.bias"), head.bias)
    assert all(name.startswith("backbone.") for name in state)
    own = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    # The stem as mmpretrain's source builds it.
    norm = dict(type="BN")
    stem = nn.Sequential(
        ConvModule(3, 8, 3, stride=2, padding=1, norm_cfg=norm),
        ConvModule(8, 8, 3, padding=1, norm_cfg=norm),
        ConvModule(8, 16, 3, padding=1, norm_cfg=norm),
    )
    of_stem = {n.removeprefix("stem."): t for n, t in own.items() if n.startswith("stem.")}
    stem.load_state_dict(of_stem, strict=True)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        ours = network.relu(network.bn1(network.conv1(images)))
        torch.testing.assert_close(stem.eval()(images), ours)
    # Its first stage strides nowhere, and so its shortcut starts with the convolution.
    shortcuts = {name for name in own if ".downsample." in name and name.endswith("0.weight")}
    assert shortcuts == {"layer1.0.downsample.0.weight"}
    assert own["layer1.0.downsample.1.running_var"].shape == (64,)
    assert own["layer2.0.downsample.1.weight"].shape == (128, 64, 1, 1)
    assert own["layer2.0.downsample.2.running_var"].shape == (128,)
    rest = [n for n in own if not n.startswith("stem.") and "downsample" not in n]
    assert set(rest) <= set(network.state_dict())


def test_mmpretrain_squeeze_and_excitation_names():
    counterpart = find("resnet50_b-se", "mmpretrain")
    assert counterpart.call() == "mmpretrain.models.backbones.SEResNet(depth=50)"
    assert (
        counterpart.rename("layer1.0.se.fc2.bias") == "backbone.layer1.0.se_layer.conv2.conv.bias"
    )
    assert counterpart.rename("bn1.weight") == "backbone.bn1.weight"


@pytest.mark.parametrize(
    "spec, call",
    [
        ("resnet50", "ResNet(depth=50, style='caffe')"),
        ("resnet101_c", "ResNetV1c(depth=101)"),
        ("resnet34_d", "ResNetV1d(depth=34)"),
    ],
)
def test_mmpretrain_classes(spec, call):
    assert find(spec, "mmpretrain").call() == f"mmpretrain.models.backbones.{call}"
